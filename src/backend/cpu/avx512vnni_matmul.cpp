// The matmul kernels for AVX-512 F, BW, DQ, VL and VNNI.

#include <immintrin.h>

#include "backend/cpu/matmul.h"

namespace sluice::avx512vnni {
namespace {

#include "backend/cpu/avx512_vectors.inc"

// One vpdpbusd: four products of unsigned and signed bytes added to an int32.
struct Dot4 {
  using Weights = I;
  I sum;
  static SLUICE_INLINE Weights weights(I raw) { return raw; }
  SLUICE_INLINE void start(I bias) { sum = bias; }
  SLUICE_INLINE void add(Weights w, I a) { sum = _mm512_dpbusd_epi32(sum, w, a); }
  SLUICE_INLINE I total() const { return sum; }
};
using Dot5 = Dot4;
using Dot8 = Dot4;

#include "backend/cpu/matmul_kernels.inc"

}  // namespace

void matmul_f32(const MatmulTile& t) { float_matmul<F32>(t); }
void matmul_f16(const MatmulTile& t) { float_matmul<F16>(t); }
void matmul_bf16(const MatmulTile& t) { float_matmul<BF16>(t); }
#define SLUICE_DEFINE(name, Type) void matmul_##name(const MatmulTile& t) { block_matmul<Type>(t); }
SLUICE_BLOCK_TYPES(SLUICE_DEFINE)
void quantize(const float* x, int64_t k, int rows, ActBlock* out) { quantize_rows(x, k, rows, out); }

}  // namespace sluice::avx512vnni
