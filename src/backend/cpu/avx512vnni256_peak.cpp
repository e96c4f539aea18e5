// The byte dot-product peak of AVX512_VNNI in 256-bit registers.

#include <immintrin.h>

#include "backend/cpu/peak.h"

namespace sluice::avx512vnni256 {

#define SLUICE_DPBUSD(sum, u, s) _mm256_dpbusd_epi32(sum, u, s)
#include "backend/cpu/vnni256_peak.inc"

}  // namespace sluice::avx512vnni256
