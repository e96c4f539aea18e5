// The tables of the x86-64 instruction sets, and what each asks of the CPU. GCC's CPUID check covers the operating
// system's support of the registers too.

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "backend/cpu/matmul.h"
#include "backend/cpu/peak.h"
#include "backend/op_table.h"

namespace sluice {
namespace {

void need(std::string& lacks, bool has, const char* name) {
  if (!has) lacks += (lacks.empty() ? "" : ", ") + std::string(name);
}

std::string avx2_lacks() {
  std::string lacks;
  need(lacks, __builtin_cpu_supports("avx2"), "AVX2");
  need(lacks, __builtin_cpu_supports("fma"), "FMA");
  need(lacks, __builtin_cpu_supports("f16c"), "F16C");
  return lacks;
}

std::string avx512bw_lacks() {
  std::string lacks = avx2_lacks();
  need(lacks, __builtin_cpu_supports("avx512f"), "AVX512F");
  need(lacks, __builtin_cpu_supports("avx512bw"), "AVX512BW");
  need(lacks, __builtin_cpu_supports("avx512dq"), "AVX512DQ");
  need(lacks, __builtin_cpu_supports("avx512vl"), "AVX512VL");
  return lacks;
}

std::string avx512_lacks() {
  std::string lacks = avx512bw_lacks();
  need(lacks, __builtin_cpu_supports("avx512vnni"), "AVX512_VNNI");
  return lacks;
}

std::string avxvnni_lacks() {
  std::string lacks = avx2_lacks();
  need(lacks, __builtin_cpu_supports("avxvnni"), "AVX_VNNI");
  return lacks;
}

std::string amx_lacks() {
  std::string lacks = avx512_lacks();
  need(lacks, __builtin_cpu_supports("amx-tile"), "AMX_TILE");
  need(lacks, __builtin_cpu_supports("amx-int8"), "AMX_INT8");
  return lacks;
}

// Linux (from 5.16 on) gives a process the 8 KiB of tile registers only when asked, for all of its threads.
std::string enable_amx() {
  constexpr long kArchReqXcompPerm = 0x1023, kTileData = 18;
  if (::syscall(SYS_arch_prctl, kArchReqXcompPerm, kTileData) == 0) return {};
  return std::string("the kernel gives no permission to use AMX's tile registers: ") + std::strerror(errno);
}

constexpr const char* kMultiplyAdd = "vfmadd231ps";
constexpr const char* kWidenedBf16 = "vpslld and vpand to f32, vfmadd231ps";
constexpr const char* kByteDotInSteps = "vpmaddubsw, vpmaddwd, vpaddd";

Peaks avx2_peaks() {
  return {{kMultiplyAdd, avx2::f32_peak}, {kWidenedBf16, avx2::bf16_peak}, {kByteDotInSteps, avx2::int8_peak}};
}

Peaks avx512bw_peaks() {
  return {{kMultiplyAdd, avx512bw::f32_peak}, {kWidenedBf16, avx512bw::bf16_peak}, {kByteDotInSteps, avx512bw::int8_peak}};
}

Peaks avx512_peaks() {
  Peaks peaks = avx512bw_peaks();
  peaks.int8 = {"vpdpbusd", avx512vnni::int8_peak};
  return peaks;
}

Peaks avxvnni_peaks() {
  Peaks peaks = avx2_peaks();
  peaks.int8 = {"vpdpbusd", avxvnni::int8_peak};
  return peaks;
}

Peaks avx512vnni256_peaks() {
  Peaks peaks = avx2_peaks();
  peaks.int8 = {"vpdpbusd of 256 bits", avx512vnni256::int8_peak};
  return peaks;
}

Peaks amx_peaks() {
  Peaks peaks = avx512_peaks();
  peaks.int8 = {"tdpbsud", amx::int8_peak};
  return peaks;
}

std::string avx512bf16_lacks() {
  std::string lacks = avx512_lacks();
  need(lacks, __builtin_cpu_supports("avx512bf16"), "AVX512_BF16");
  return lacks;
}

Peaks avx512bf16_peaks() {
  Peaks peaks = avx512_peaks();
  peaks.bf16 = {"vdpbf16ps", avx512bf16::bf16_peak};
  return peaks;
}

constexpr int at(DType dtype) { return static_cast<int>(dtype); }
constexpr int at(ActForm form) { return static_cast<int>(form); }

#define SLUICE_ENTRY(name, Type) t.matmul[at(DType::name)] = matmul_##name;

// The kernels of namespace `ns`, all of them.
#define SLUICE_TABLE(isa_name, lacks_fn, ns, rows, peaks_fn)       \
  constexpr OpTable make_##ns() {                                  \
    using namespace ns;                                            \
    OpTable t{};                                                   \
    t.isa = isa_name;                                              \
    t.lacks = lacks_fn;                                            \
    t.matmul[at(DType::f32)] = matmul_f32;                         \
    t.matmul[at(DType::f16)] = matmul_f16;                         \
    t.matmul[at(DType::bf16)] = matmul_bf16;                       \
    SLUICE_BLOCK_TYPES(SLUICE_ENTRY)                               \
    t.codes = matmul_codes;                                        \
    t.bf16_form = ActForm::f32;                                    \
    t.group_rows[at(ActForm::f32)] = ns::kFloatRows;               \
    t.group_rows[at(ActForm::q8)] = ns::kBlockRows;                \
    t.arrange[at(ActForm::f32)] = ns::arrange_f32;                 \
    t.arrange[at(ActForm::q8)] = ns::arrange_q8;                   \
    t.planned_rows = kMaxTileRows;                                 \
    t.row = rows;                                                  \
    t.peaks = peaks_fn;                                            \
    return t;                                                      \
  }

// Another table's kernels, but for the block types.
#define SLUICE_BLOCK_TABLE(isa_name, lacks_fn, ns, base, peaks_fn) \
  constexpr OpTable make_##ns() {                                  \
    using namespace ns;                                            \
    OpTable t = make_##base();                                     \
    t.isa = isa_name;                                              \
    t.lacks = lacks_fn;                                            \
    SLUICE_BLOCK_TYPES(SLUICE_ENTRY)                               \
    t.codes = matmul_codes;                                        \
    t.group_rows[at(ActForm::q8)] = ns::kBlockRows;                \
    t.peaks = peaks_fn;                                            \
    return t;                                                      \
  }

SLUICE_TABLE("avx2", avx2_lacks, avx2, &kAvx2RowOps, avx2_peaks)
SLUICE_TABLE("avx512bw", avx512bw_lacks, avx512bw, &kAvx512RowOps, avx512bw_peaks)
SLUICE_BLOCK_TABLE("avx512", avx512_lacks, avx512vnni, avx512bw, avx512_peaks)
SLUICE_BLOCK_TABLE("avxvnni", avxvnni_lacks, avxvnni, avx2, avxvnni_peaks)
SLUICE_BLOCK_TABLE("avx512vnni256", avx512_lacks, avx512vnni256, avx2, avx512vnni256_peaks)
SLUICE_BLOCK_TABLE("amx", amx_lacks, amx, avx512vnni, amx_peaks)

constexpr OpTable with_rows(OpTable t, const RowOps* rows) {
  t.row = rows;
  return t;
}

constexpr OpTable make_unproven_amx() {
  OpTable t = with_rows(make_amx(), &kAvx512VnniRowOps);
  t.planned_rows = avx512vnni::kBlockRows;  // the tiles' kernels know one way
  t.enable = enable_amx;
  t.unproven = true;
  return t;
}

constexpr OpTable make_avx512bf16() {
  OpTable t = with_rows(make_avx512vnni(), &kAvx512VnniRowOps);
  t.isa = "avx512bf16";
  t.lacks = avx512bf16_lacks;
  t.matmul[at(DType::bf16)] = avx512bf16::matmul_bf16;
  t.bf16_form = ActForm::bf16_pair;
  t.group_rows[at(ActForm::bf16_pair)] = avx512bf16::kFloatRows;
  t.arrange[at(ActForm::bf16_pair)] = avx512bf16::arrange_pairs;
  t.peaks = avx512bf16_peaks;
  return t;
}

}  // namespace

constinit const OpTable kAvx2Ops = make_avx2();
constinit const OpTable kAvxVnniOps = make_avxvnni();
constinit const OpTable kAvx512bwOps = make_avx512bw();
constinit const OpTable kAvx512Ops = with_rows(make_avx512vnni(), &kAvx512VnniRowOps);
constinit const OpTable kAvx512bf16Ops = make_avx512bf16();
constinit const OpTable kAmxOps = make_unproven_amx();
constinit const OpTable kAvx512Vnni256Ops = make_avx512vnni256();

}  // namespace sluice
