// Arithmetic peaks of AVX-512 without VNNI.

#include <immintrin.h>

#include "backend/cpu/peak.h"

namespace sluice::avx512bw {

// Twelve independent chains hide the latency of the multiply-add on every core that has these instructions.
int64_t f32_peak(int64_t rounds) {
  __m512 acc[12];
  for (int i = 0; i < 12; ++i) acc[i] = _mm512_set1_ps(static_cast<float>(i));
  const __m512 a = _mm512_set1_ps(0.999f), b = _mm512_set1_ps(0.001f);
  for (int64_t r = 0; r < rounds; ++r)
#pragma GCC unroll 12
    for (int i = 0; i < 12; ++i) acc[i] = _mm512_fmadd_ps(acc[i], a, b);
  for (int i = 0; i < 12; ++i) asm volatile("" : : "v"(acc[i]));
  return rounds * 12 * 16 * 2;
}

// As the kernels take bf16: pairs are widened to two f32, each of which serves six rows.
int64_t bf16_peak(int64_t rounds) {
  __m512 acc[12];
  for (int i = 0; i < 12; ++i) acc[i] = _mm512_set1_ps(static_cast<float>(i));
  const __m512 a = _mm512_set1_ps(0.001f);
  const __m512i high = _mm512_set1_epi32(static_cast<int>(0xffff0000));
  __m512i pairs = _mm512_set1_epi32(0x3f803f80);
  for (int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 12
    for (int i = 0; i < 12; ++i) {
      if (i % 6 == 0) asm volatile("" : "+v"(pairs));
      acc[i] = _mm512_fmadd_ps(a, _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16)), acc[i]);
    }
#pragma GCC unroll 12
    for (int i = 0; i < 12; ++i) {
      if (i % 6 == 0) asm volatile("" : "+v"(pairs));
      acc[i] = _mm512_fmadd_ps(a, _mm512_castsi512_ps(_mm512_and_si512(pairs, high)), acc[i]);
    }
  }
  for (int i = 0; i < 12; ++i) asm volatile("" : : "v"(acc[i]));
  return rounds * 24 * 16 * 2;
}

// maddubs, madd, add: the three instructions that a byte dot product takes here.
int64_t int8_peak(int64_t rounds) {
  __m512i acc[8];
  for (int i = 0; i < 8; ++i) acc[i] = _mm512_set1_epi8(static_cast<char>(i));
  __m512i a = _mm512_set1_epi8(3);
  const __m512i b = _mm512_set1_epi8(2), ones = _mm512_set1_epi16(1);
  for (int64_t r = 0; r < rounds; ++r) {
    asm volatile("" : "+v"(a));
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      __m512i x = a;
      asm volatile("" : "+v"(x));
      acc[i] = _mm512_add_epi32(acc[i], _mm512_madd_epi16(_mm512_maddubs_epi16(x, b), ones));
    }
  }
  for (int i = 0; i < 8; ++i) asm volatile("" : : "v"(acc[i]));
  return rounds * 8 * 64 * 2;
}

}  // namespace sluice::avx512bw
