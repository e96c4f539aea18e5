#pragma once
// What this process may use: cores and memory, as affinity, cgroup v1/v2 and the kernel limit them.

#include <cstddef>

namespace sluice {

/// Cores that this process may really use: min(affinity mask, cgroup CPU quota rounded up), at least 1.
int usable_cores();

/// Bytes of memory that this process may use: min(physical, cgroup limits), and what of that is available now.
struct MemoryLimit { size_t total_bytes = 0, available_bytes = 0; };
MemoryLimit memory_limit();

}  // namespace sluice
