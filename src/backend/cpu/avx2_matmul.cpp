// The matmul kernels for AVX2, FMA and F16C.

#include <immintrin.h>

#include "backend/cpu/matmul.h"

namespace sluice::avx2 {
namespace {

#include "backend/cpu/avx2_vectors.inc"
#include "backend/cpu/dot_by_nibbles.inc"
#include "backend/cpu/matmul_kernels.inc"
#include "backend/cpu/q2_k.inc"
#include "backend/cpu/arrange_kernels.inc"

}  // namespace

void matmul_f32(const MatmulTile& t) { float_matmul<FloatRows<F32>, kFloatRows>(t); }
void matmul_f16(const MatmulTile& t) { float_matmul<FloatRows<F16>, kFloatRows>(t); }
void matmul_bf16(const MatmulTile& t) { float_matmul<FloatRows<BF16>, kFloatRows>(t); }
#define SLUICE_DEFINE(name, Type) void matmul_##name(const MatmulTile& t) { block_matmul<Type>(t); }
SLUICE_KERNELS(SLUICE_DEFINE)
SLUICE_DEFINE_ARRANGE

}  // namespace sluice::avx2
