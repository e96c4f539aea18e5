// The tables of the x86-64 instruction sets, and what each asks of the CPU. GCC's CPUID check covers the operating
// system's support of the registers too.

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

// The block types of namespace `blocks`, and all else of `floats`.
#define SLUICE_TABLE(name, isa_name, lacks_fn, blocks, floats, rows, peaks_fn)  \
  constexpr OpTable make_##name() {                                             \
    OpTable t{};                                                                \
    t.isa = isa_name;                                                           \
    t.lacks = lacks_fn;                                                         \
    t.matmul[at(DType::f32)] = floats::matmul_f32;                              \
    t.matmul[at(DType::f16)] = floats::matmul_f16;                              \
    t.matmul[at(DType::bf16)] = floats::matmul_bf16;                            \
    SLUICE_BLOCK_TYPES(SLUICE_ENTER_##blocks)                                   \
    t.bf16_form = ActForm::f32;                                                 \
    t.group_rows[at(ActForm::f32)] = floats::kFloatRows;                        \
    t.group_rows[at(ActForm::q8)] = blocks::kBlockRows;                         \
    t.arrange[at(ActForm::f32)] = floats::arrange_f32;                          \
    t.arrange[at(ActForm::q8)] = floats::arrange_q8;                            \
    t.row = rows;                                                               \
    t.peaks = peaks_fn;                                                         \
    return t;                                                                   \
  }
#define SLUICE_ENTER_avx2(name, Type) t.matmul[at(DType::name)] = avx2::matmul_##name;
#define SLUICE_ENTER_avx512bw(name, Type) t.matmul[at(DType::name)] = avx512bw::matmul_##name;
#define SLUICE_ENTER_avx512vnni(name, Type) t.matmul[at(DType::name)] = avx512vnni::matmul_##name;

SLUICE_TABLE(avx2, "avx2", avx2_lacks, avx2, avx2, &kAvx2RowOps, avx2_peaks)
SLUICE_TABLE(avx512bw, "avx512bw", avx512bw_lacks, avx512bw, avx512bw, &kAvx512RowOps, avx512bw_peaks)
SLUICE_TABLE(avx512, "avx512", avx512_lacks, avx512vnni, avx512bw, &kAvx512RowOps, avx512_peaks)

constexpr OpTable make_avx512bf16() {
  OpTable t = make_avx512();
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
constinit const OpTable kAvx512bwOps = make_avx512bw();
constinit const OpTable kAvx512Ops = make_avx512();
constinit const OpTable kAvx512bf16Ops = make_avx512bf16();

}  // namespace sluice
