#pragma once
// The vector matmul kernels, one namespace per instruction set; each equals backend/ref bit for bit.

#include "backend/kernel_args.h"
#include "quant/weight/value_tables.h"

// Every block type: X(name of its DType and of its kernel, its struct in weight_types.inc or q2_k.inc).
#define SLUICE_BLOCK_TYPES(X) X(q8_0, Q8_0) X(q4_0, Q4_0) X(q4_k, Q4_K) X(q6_k, Q6_K) X(q5_0, Q5_0) X(q5_k, Q5_K) \
  X(iq4_nl, IQ4_NL) X(mxfp4, MXFP4) X(q4_1, Q4_1) X(q5_1, Q5_1) X(q3_k, Q3_K) X(q2_k, Q2_K) X(i8_g128, I8_G128) X(u4_g128, U4_G128) X(u4_g32, U4_G32) \
  X(u8_g128, U8_G128) X(iq4_xs, IQ4_XS) X(tq2_0, TQ2_0)

// The kernels of those and of panels of codes.
#define SLUICE_KERNELS(X) SLUICE_BLOCK_TYPES(X) X(codes, Codes)

#define SLUICE_DECLARE(name, Type) MatmulFn matmul_##name;

// The arranging of activations, for the end of an ISA file.
#define SLUICE_DEFINE_ARRANGE                                                                                      \
  void arrange_f32(const float* x, int64_t stride, int64_t k, int rows, void* out) {                               \
    transpose_rows(x, stride, k, rows, static_cast<float*>(out));                                                  \
  }                                                                                                                \
  void arrange_q8(const float* x, int64_t stride, int64_t k, int rows, void* out) {                                \
    quantize_rows(x, stride, k, rows, static_cast<ActBlock*>(out));                                                \
  }

namespace sluice::avx2 {
MatmulFn matmul_f32, matmul_f16, matmul_bf16;
SLUICE_KERNELS(SLUICE_DECLARE)
ArrangeFn arrange_f32, arrange_q8;
constexpr int kFloatRows = 6, kBlockRows = 4;  // rows of a register tile
}
namespace sluice::avx512bw {
MatmulFn matmul_f32, matmul_f16, matmul_bf16;
SLUICE_KERNELS(SLUICE_DECLARE)
ArrangeFn arrange_f32, arrange_q8;
constexpr int kFloatRows = 6, kBlockRows = 4;
}
namespace sluice::avx512vnni {
SLUICE_KERNELS(SLUICE_DECLARE)
constexpr int kBlockRows = 6;
}
// The 256-bit tables with VNNI. Six rows are 3 % faster on Zen 5, for a third more to compile.
namespace sluice::avxvnni {
SLUICE_KERNELS(SLUICE_DECLARE)
constexpr int kBlockRows = 4;
}
namespace sluice::avx512vnni256 {
SLUICE_KERNELS(SLUICE_DECLARE)
constexpr int kBlockRows = 4;
}
namespace sluice::amx {
SLUICE_KERNELS(SLUICE_DECLARE)
constexpr int kBlockRows = 16;  // the rows of a tile register
}
namespace sluice::avx512bf16 {
MatmulFn matmul_bf16;
ArrangeFn arrange_pairs;
constexpr int kFloatRows = 6;
}
