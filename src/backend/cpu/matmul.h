#pragma once
// The vector matmul kernels, one namespace per instruction set; each equals backend/ref bit for bit.

#include "backend/kernel_args.h"

#define SLUICE_MATMUL_KERNELS                                                                              \
  MatmulFn matmul_f32, matmul_f16, matmul_bf16, matmul_q8_0, matmul_q4_0, matmul_q4_k, matmul_q6_k;        \
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
