// The matmul kernels that VNNI makes faster; the others are those of avx512bw_matmul.cpp.

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
#include "backend/cpu/q2_k.inc"

}  // namespace

#define SLUICE_DEFINE(name, Type) void matmul_##name(const MatmulTile& t) { block_matmul<Type>(t); }
SLUICE_KERNELS(SLUICE_DEFINE)

}  // namespace sluice::avx512vnni
