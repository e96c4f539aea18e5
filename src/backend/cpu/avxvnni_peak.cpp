// The byte dot-product peak of AVX-VNNI.

#include <immintrin.h>

#include "backend/cpu/peak.h"

namespace sluice::avxvnni {

#define SLUICE_DPBUSD(sum, u, s) _mm256_dpbusd_avx_epi32(sum, u, s)
#include "backend/cpu/vnni256_peak.inc"

}  // namespace sluice::avxvnni
