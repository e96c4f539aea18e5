// The bf16 dot-product peak of AVX512_BF16.

#include <immintrin.h>

#include "backend/cpu/peak.h"

namespace sluice::avx512bf16 {

int64_t bf16_peak(int64_t rounds) {
  __m512 acc[12];
  for (int i = 0; i < 12; ++i) acc[i] = _mm512_set1_ps(static_cast<float>(i));
  const __m512bh a = (__m512bh)_mm512_set1_epi32(0x3f803f80), b = (__m512bh)_mm512_set1_epi32(0x3c003c00);
  for (int64_t r = 0; r < rounds; ++r)
#pragma GCC unroll 12
    for (int i = 0; i < 12; ++i) acc[i] = _mm512_dpbf16_ps(acc[i], a, b);
  for (int i = 0; i < 12; ++i) asm volatile("" : : "v"(acc[i]));
  return rounds * 12 * 32 * 2;
}

}  // namespace sluice::avx512bf16
