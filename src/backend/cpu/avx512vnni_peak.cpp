// The byte dot-product peak of VNNI.

#include <immintrin.h>

#include "backend/cpu/peak.h"

namespace sluice::avx512vnni {

int64_t int8_peak(int64_t rounds) {
  __m512i acc[12];
  for (int i = 0; i < 12; ++i) acc[i] = _mm512_set1_epi32(i);
  const __m512i a = _mm512_set1_epi8(3), b = _mm512_set1_epi8(2);
  for (int64_t r = 0; r < rounds; ++r)
#pragma GCC unroll 12
    for (int i = 0; i < 12; ++i) acc[i] = _mm512_dpbusd_epi32(acc[i], a, b);
  for (int i = 0; i < 12; ++i) asm volatile("" : : "v"(acc[i]));
  return rounds * 12 * 64 * 2;
}

}  // namespace sluice::avx512vnni
