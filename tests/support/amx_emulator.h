#pragma once
// Runs the AMX kernels on a CPU without AMX: each of their tile instructions raises SIGILL, whose handler does it on a
// scalar model (amx_model.h) and steps over it. So the tests run the very object that hardware would, its encodings,
// the order of its operands and what the compiler moved around them included.

#include <signal.h>
#include <ucontext.h>

#include <string>

#include "backend/op_table.h"
#include "tests/support/amx_model.h"

namespace sluice {

#if defined(__x86_64__)

/// One instruction of the VEX map 0F38 with W = 0, which is where those of AMX are.
struct VexInstruction {
  enum Prefix { none = 0, p66 = 1, pf3 = 2, pf2 = 3 };
  int prefix, opcode, reg, vvvv, rm, length;
  bool in_memory;
  uint64_t address, index;  // where in_memory: base + displacement, and the index register times its scale

  /// False where `at` holds another kind. `registers` are rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8 to r15.
  bool decode(const uint8_t* at, const uint64_t* registers) {
    const uint8_t* p = at;
    if (*p++ != 0xc4) return false;
    const int first = *p++, second = *p++;
    if ((first & 31) != 2 || (second & 0x80) != 0 || (second & 4) != 0) return false;
    const int r = first & 0x80 ? 0 : 8, x = first & 0x40 ? 0 : 8, b = first & 0x20 ? 0 : 8;
    prefix = second & 3;
    vvvv = ~(second >> 3) & 15;
    opcode = *p++;
    const int modrm = *p++, mod = modrm >> 6;
    reg = (modrm >> 3 & 7) + r;
    rm = (modrm & 7) + b;
    in_memory = mod != 3;
    address = index = 0;
    bool from_next = false;
    if (in_memory) {
      int base = rm;
      if ((modrm & 7) == 4) {
        const int sib = *p++, i = (sib >> 3 & 7) + x;
        if (i != 4) index = registers[i] << (sib >> 6);
        base = (sib & 7) + b;
        if (mod == 0 && (sib & 7) == 5) base = -1;
      } else if (mod == 0 && (modrm & 7) == 5) {
        base = -1;
        from_next = true;
      }
      if (base >= 0) address = registers[base];
      int32_t displacement = 0;
      if (mod == 1) displacement = static_cast<int8_t>(*p++);
      if (mod == 2 || base < 0) std::memcpy(&displacement, p, 4), p += 4;
      address += static_cast<uint64_t>(static_cast<int64_t>(displacement));
    }
    length = static_cast<int>(p - at);
    if (from_next) address += reinterpret_cast<uint64_t>(at) + static_cast<uint64_t>(length);
    return true;
  }

  // clang-format off
  /// False where it is no instruction of AMX, or one that no kernel uses.
  bool run(TileModel& tiles) const {
    auto* memory = reinterpret_cast<uint8_t*>(address);
    const auto stride = static_cast<int64_t>(index);
    if (opcode == 0x49 && prefix == none && in_memory) tiles.load_config(memory + stride);
    else if (opcode == 0x49 && prefix == none) tiles.release();
    else if (opcode == 0x49 && prefix == pf2 && !in_memory) tiles.zero(reg);
    else if (opcode == 0x4b && prefix == pf2 && in_memory) tiles.load(reg, memory, stride);
    else if (opcode == 0x4b && prefix == pf3 && in_memory) tiles.store(reg, memory, stride);
    else if (opcode == 0x5e && prefix == pf2 && !in_memory) tiles.dot_bytes<int8_t, int8_t>(reg, rm, vvvv);
    else if (opcode == 0x5e && prefix == pf3 && !in_memory) tiles.dot_bytes<int8_t, uint8_t>(reg, rm, vvvv);
    else if (opcode == 0x5e && prefix == p66 && !in_memory) tiles.dot_bytes<uint8_t, int8_t>(reg, rm, vvvv);
    else if (opcode == 0x5e && prefix == none && !in_memory) tiles.dot_bytes<uint8_t, uint8_t>(reg, rm, vvvv);
    else if (opcode == 0x5c && prefix == pf3 && !in_memory) tiles.dot_bf16(reg, rm, vvvv);
    else return false;
    return true;
  }
  // clang-format on
};

inline void run_illegal_instruction(int, siginfo_t*, void* context) {
  static thread_local constinit TileModel tiles;
  greg_t* g = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  constexpr int kOrder[] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                            REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
  uint64_t registers[16];
  for (int i = 0; i < 16; ++i) registers[i] = static_cast<uint64_t>(g[kOrder[i]]);
  VexInstruction instruction;
  if (instruction.decode(reinterpret_cast<const uint8_t*>(g[REG_RIP]), registers) && instruction.run(tiles))
    g[REG_RIP] += instruction.length;
  else
    ::signal(SIGILL, SIG_DFL);  // comes again, and ends the program as it should
}

#endif  // __x86_64__

/// What keeps a table from running in this test program: nothing where tile instructions alone are missing, which are
/// emulated from then on.
inline std::string lacks_even_emulated(const OpTable& table) {
#if defined(__x86_64__)
  if (&table == &kAmxOps) {
    if (table.lacks().empty() && table.enable().empty()) return {};
    if (std::string lacks = kAvx512Ops.lacks(); !lacks.empty()) return lacks;
    struct sigaction action = {};
    action.sa_sigaction = run_illegal_instruction;
    action.sa_flags = SA_SIGINFO;
    ::sigaction(SIGILL, &action, nullptr);
    return {};
  }
#endif
  return table.lacks();
}

}  // namespace sluice
