// The matmul kernels for AVX512VL and AVX512_VNNI in 256-bit registers: the source of AVX-VNNI's, with vpdpbusd in its EVEX
// encoding.

#include <immintrin.h>

#include "backend/cpu/matmul.h"

namespace sluice::avx512vnni256 {

#define SLUICE_DPBUSD(sum, u, s) _mm256_dpbusd_epi32(sum, u, s)
#include "backend/cpu/vnni256_matmul.inc"

}  // namespace sluice::avx512vnni256
