#pragma once
// What a waiting loop does between two looks, on each kind of CPU.

namespace sluice {

/// Lets a core's other thread run, and saves power, for some tens of cycles.
inline void cpu_pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb");  // `yield` does nothing on most cores
#endif
}

}  // namespace sluice
