// Arithmetic peaks of AVX2.

#include <immintrin.h>

#include "backend/cpu/peak.h"

namespace sluice::avx2 {

// Twelve independent chains hide the latency of the multiply-add on every core that has these instructions.
int64_t f32_peak(int64_t rounds) {
  __m256 acc[12];
  for (int i = 0; i < 12; ++i) acc[i] = _mm256_set1_ps(static_cast<float>(i));
  const __m256 a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(0.001f);
  for (int64_t r = 0; r < rounds; ++r)
#pragma GCC unroll 12
    for (int i = 0; i < 12; ++i) acc[i] = _mm256_fmadd_ps(acc[i], a, b);
  for (int i = 0; i < 12; ++i) asm volatile("" : : "x"(acc[i]));
  return rounds * 12 * 8 * 2;
}

// As the kernels take bf16: pairs are widened to two f32, each of which serves five rows (six in the kernels, for which
// the compiler runs out of registers here).
int64_t bf16_peak(int64_t rounds) {
  __m256 acc[10];
  for (int i = 0; i < 10; ++i) acc[i] = _mm256_set1_ps(static_cast<float>(i));
  const __m256 a = _mm256_set1_ps(0.001f);
  const __m256i high = _mm256_set1_epi32(static_cast<int>(0xffff0000));
  __m256i pairs = _mm256_set1_epi32(0x3f803f80);
  for (int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 10
    for (int i = 0; i < 10; ++i) {
      if (i % 5 == 0) asm volatile("" : "+x"(pairs));
      acc[i] = _mm256_fmadd_ps(a, _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16)), acc[i]);
    }
#pragma GCC unroll 10
    for (int i = 0; i < 10; ++i) {
      if (i % 5 == 0) asm volatile("" : "+x"(pairs));
      acc[i] = _mm256_fmadd_ps(a, _mm256_castsi256_ps(_mm256_and_si256(pairs, high)), acc[i]);
    }
  }
  for (int i = 0; i < 10; ++i) asm volatile("" : : "x"(acc[i]));
  return rounds * 20 * 8 * 2;
}

// maddubs, madd, add: the three instructions that a byte dot product takes here.
int64_t int8_peak(int64_t rounds) {
  __m256i acc[8];
  for (int i = 0; i < 8; ++i) acc[i] = _mm256_set1_epi8(static_cast<char>(i));
  __m256i a = _mm256_set1_epi8(3);
  const __m256i b = _mm256_set1_epi8(2), ones = _mm256_set1_epi16(1);
  for (int64_t r = 0; r < rounds; ++r) {
    asm volatile("" : "+x"(a));
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      __m256i x = a;
      asm volatile("" : "+x"(x));
      acc[i] = _mm256_add_epi32(acc[i], _mm256_madd_epi16(_mm256_maddubs_epi16(x, b), ones));
    }
  }
  for (int i = 0; i < 8; ++i) asm volatile("" : : "x"(acc[i]));
  return rounds * 8 * 32 * 2;
}

}  // namespace sluice::avx2
