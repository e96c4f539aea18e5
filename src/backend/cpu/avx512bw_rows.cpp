// The row kernels for AVX-512 F, BW, DQ and VL.

#include <immintrin.h>

#include "backend/row_ops.h"

namespace sluice {
namespace {

#include "backend/cpu/row_kernels.inc"

using Vec = __m512;
constexpr int kWidth = 16;
constexpr int kScoreVecs = 4, kOutputVecs = 4;  // 6 x 4 accumulators of 32 registers

inline Vec load(const float* p) { return _mm512_loadu_ps(p); }
inline void store(float* p, Vec x) { _mm512_storeu_ps(p, x); }
inline Vec splat(float x) { return _mm512_set1_ps(x); }
inline Vec fma(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }
inline Vec min_vec(Vec a, Vec b) { return _mm512_min_ps(a, b); }
inline Vec max_vec(Vec a, Vec b) { return _mm512_max_ps(a, b); }

// 2^n, where the low bits of t hold n.
inline Vec exponent_of(Vec t) {
  const __m512i shifted = _mm512_slli_epi32(_mm512_castps_si512(t), 23);
  return _mm512_castsi512_ps(_mm512_add_epi32(shifted, _mm512_set1_epi32(0x3f800000)));
}

inline __mmask16 first_lanes(int count) {
  return count <= 0 ? 0 : count >= kWidth ? 0xffff : static_cast<__mmask16>((1u << count) - 1);
}

// x in lanes [lo, hi), `other` elsewhere.
inline Vec keep(Vec x, int lo, int hi, Vec other) {
  return _mm512_mask_mov_ps(other, static_cast<__mmask16>(first_lanes(hi) & ~first_lanes(lo)), x);
}

using Bytes = __m512i;
inline Bytes load_bytes(const uint8_t* p, int count) {
  return _mm512_maskz_loadu_epi8(count == 4 * kWidth ? ~0ull : (1ull << count) - 1, p);
}
inline void store_bytes(uint8_t* p, Bytes x) { _mm512_storeu_si512(p, x); }
inline Bytes interleave_low(Bytes a, Bytes b) { return _mm512_unpacklo_epi8(a, b); }  // in each 16 bytes
inline Bytes interleave_high(Bytes a, Bytes b) { return _mm512_unpackhi_epi8(a, b); }
inline Vec from_int8(const uint8_t* p) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}

// E4M3 as f16 has the same bits, one to the left, and an exponent that is 8 less.
inline Vec from_fp8(__m128i bytes) {
  const __m256i wide = _mm256_cvtepu8_epi16(bytes), size = _mm256_and_si256(wide, _mm256_set1_epi16(0x7f));
  const __m256i sign = _mm256_slli_epi16(_mm256_and_si256(wide, _mm256_set1_epi16(0x80)), 8);
  const __mmask16 nan = _mm256_cmpeq_epi16_mask(size, _mm256_set1_epi16(0x7f));
  const __m256i bits = _mm256_mask_mov_epi16(_mm256_slli_epi16(size, 7), nan, _mm256_set1_epi16(0x7e00));
  return _mm512_mul_ps(_mm512_cvtph_ps(_mm256_or_si256(bits, sign)), _mm512_set1_ps(256.0f));
}
// Each of the low 8 bytes holds two dims, as q + 8.
inline Vec from_int4(__m128i bytes) {
  const __m128i low = _mm_and_si128(bytes, _mm_set1_epi8(15)), high = _mm_and_si128(_mm_srli_epi16(bytes, 4), _mm_set1_epi8(15));
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_sub_epi8(_mm_unpacklo_epi8(low, high), _mm_set1_epi8(8))));
}

// Elements [d, d + count) of a row in float32 (int8 and int4 without their factor), then zeros.
template <KvType E>
inline Vec load_elems(const uint8_t* row, int d, int count) {
  const __mmask16 mask = first_lanes(count);
  if (E == KvType::fp8) return from_fp8(_mm_maskz_loadu_epi8(mask, row + d));
  if (E == KvType::int4) {
    const Vec x = from_int4(_mm_maskz_loadu_epi8(first_lanes((count + 1) / 2), row + d / 2));
    return count == kWidth ? x : _mm512_maskz_mov_ps(mask, x);
  }
  if (E == KvType::f32) return _mm512_maskz_loadu_ps(mask, row + 4 * d);
  if (E == KvType::int8 && count == kWidth) return from_int8(row + d);
  if (E == KvType::int8)
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(mask, row + d)));
  const __m256i bits = _mm256_maskz_loadu_epi16(mask, row + 2 * d);
  if (E == KvType::f16) return _mm512_cvtph_ps(bits);
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}

inline void transpose(Vec* x) {
  Vec y[kWidth];
  for (int i = 0; i < kWidth; i += 2) {
    y[i] = _mm512_unpacklo_ps(x[i], x[i + 1]);
    y[i + 1] = _mm512_unpackhi_ps(x[i], x[i + 1]);
  }
  // After this, x[4 g + j] holds in its 128-bit lane q the column 4 q + j of rows 4 g .. 4 g + 3.
  for (int i = 0; i < kWidth; i += 4)
    for (int j = 0; j < 2; ++j) {
      const __m512d a = _mm512_castps_pd(y[i + j]), b = _mm512_castps_pd(y[i + 2 + j]);
      x[i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
      x[i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
    }
  for (int j = 0; j < 4; ++j) {
    const Vec even_low = _mm512_shuffle_f32x4(x[j], x[4 + j], 0x88),
              odd_low = _mm512_shuffle_f32x4(x[j], x[4 + j], 0xdd);
    const Vec even_high = _mm512_shuffle_f32x4(x[8 + j], x[12 + j], 0x88),
              odd_high = _mm512_shuffle_f32x4(x[8 + j], x[12 + j], 0xdd);
    y[j] = _mm512_shuffle_f32x4(even_low, even_high, 0x88);
    y[4 + j] = _mm512_shuffle_f32x4(odd_low, odd_high, 0x88);
    y[8 + j] = _mm512_shuffle_f32x4(even_low, even_high, 0xdd);
    y[12 + j] = _mm512_shuffle_f32x4(odd_low, odd_high, 0xdd);
  }
  for (int i = 0; i < kWidth; ++i) x[i] = y[i];
}

inline float fold_sum(const Vec* sums) {
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(sums[0]), _mm512_extractf32x8_ps(sums[0], 1));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

inline float fold_max(Vec x) {
  const __m256 eight = _mm256_max_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

#include "backend/cpu/attend_kernels.inc"
#include "backend/cpu/kv_encode.inc"

}  // namespace

constinit const RowOps kAvx512RowOps = [] {
  RowOps ops = {{}, attend_merge, attend_finish, rms_norm, rope, silu_mul, add, {}};
  for (int i = 0; i < kNumKvTypes; ++i) {
    ops.attend_tile[i] = kAttendTiles[i];
    ops.kv_encode[i] = kKvEncoders[i];
  }
  return ops;
}();

}  // namespace sluice
