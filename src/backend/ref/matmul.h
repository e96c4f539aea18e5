#pragma once
// The portable matmul kernels: what every other table must equal bit for bit.

#include "backend/kernel_args.h"

namespace sluice::ref {

MatmulFn matmul_f32, matmul_f16, matmul_bf16, matmul_bf16_pairs, matmul_q8_0, matmul_q4_0, matmul_q4_k, matmul_q6_k,
    matmul_q5_0, matmul_q5_k, matmul_iq4_nl, matmul_mxfp4, matmul_q4_1, matmul_q5_1, matmul_q3_k, matmul_q2_k,
    matmul_i8_g128, matmul_u4_g128, matmul_u4_g32, matmul_u8_g128, matmul_iq4_xs, matmul_tq2_0, matmul_codes;
ArrangeFn arrange_f32, arrange_pairs, arrange_q8;

}  // namespace sluice::ref
