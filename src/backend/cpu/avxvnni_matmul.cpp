// The matmul kernels for AVX2, FMA, F16C and AVX-VNNI: vpdpbusd in its VEX encoding.

#include <immintrin.h>

#include "backend/cpu/matmul.h"

namespace sluice::avxvnni {

#define SLUICE_DPBUSD(sum, u, s) _mm256_dpbusd_avx_epi32(sum, u, s)
#include "backend/cpu/vnni256_matmul.inc"

}  // namespace sluice::avxvnni
