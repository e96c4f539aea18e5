#pragma once
// The vector matmul kernels, one namespace per instruction set; each equals backend/ref bit for bit.

#include "backend/kernel_args.h"
#include "quant/weight/value_tables.h"

// Every block type: X(name of its DType and of its kernel, its struct in weight_types.inc or q2_k.inc).
#define SLUICE_BLOCK_TYPES(X) X(q8_0, Q8_0) X(q4_0, Q4_0) X(q4_k, Q4_K) X(q6_k, Q6_K) X(q5_0, Q5_0) X(q5_k, Q5_K) \
  X(iq4_nl, IQ4_NL) X(mxfp4, MXFP4) X(q4_1, Q4_1) X(q5_1, Q5_1) X(q3_k, Q3_K) X(q2_k, Q2_K)

#define SLUICE_DECLARE(name, Type) MatmulFn matmul_##name;
#define SLUICE_MATMUL_KERNELS                   \
  MatmulFn matmul_f32, matmul_f16, matmul_bf16; \
  SLUICE_BLOCK_TYPES(SLUICE_DECLARE)            \
  QuantizeFn quantize;

namespace sluice::avx2 {
SLUICE_MATMUL_KERNELS
constexpr int kFloatRows = 6, kBlockRows = 4;  // rows of a register tile
}
namespace sluice::avx512bw {
SLUICE_MATMUL_KERNELS
constexpr int kFloatRows = 6, kBlockRows = 4;
}
namespace sluice::avx512vnni {
SLUICE_MATMUL_KERNELS
constexpr int kFloatRows = 6, kBlockRows = 6;
}
