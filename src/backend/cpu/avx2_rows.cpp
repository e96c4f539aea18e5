// The row kernels for AVX2, FMA and F16C.

#include <immintrin.h>

#include "backend/row_ops.h"

namespace sluice {
namespace {

#include "backend/cpu/row_kernels.inc"

using Vec = __m256;
constexpr int kWidth = 8;
constexpr int kScoreVecs = 2, kOutputVecs = 2;  // 6 x 2 accumulators of 16 registers

inline Vec load(const float* p) { return _mm256_loadu_ps(p); }
inline void store(float* p, Vec x) { _mm256_storeu_ps(p, x); }
inline Vec splat(float x) { return _mm256_set1_ps(x); }
inline Vec fma(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }
inline Vec min_vec(Vec a, Vec b) { return _mm256_min_ps(a, b); }
inline Vec max_vec(Vec a, Vec b) { return _mm256_max_ps(a, b); }

// 2^n, where the low bits of t hold n.
inline Vec exponent_of(Vec t) {
  const __m256i shifted = _mm256_slli_epi32(_mm256_castps_si256(t), 23);
  return _mm256_castsi256_ps(_mm256_add_epi32(shifted, _mm256_set1_epi32(0x3f800000)));
}

inline __m256i lanes_from(int lo, int hi) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_andnot_si256(_mm256_cmpgt_epi32(_mm256_set1_epi32(lo), lane),
                             _mm256_cmpgt_epi32(_mm256_set1_epi32(hi), lane));
}

// x in lanes [lo, hi), `other` elsewhere.
inline Vec keep(Vec x, int lo, int hi, Vec other) {
  return _mm256_blendv_ps(other, x, _mm256_castsi256_ps(lanes_from(lo, hi)));
}

using Bytes = __m256i;
constexpr int kBytes = 4 * kWidth;
inline Bytes load_bytes(const uint8_t* p, int count) {
  if (count == 4 * kWidth) return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  alignas(32) uint8_t tail[4 * kWidth] = {};
  __builtin_memcpy(tail, p, static_cast<size_t>(count));
  return _mm256_load_si256(reinterpret_cast<const __m256i*>(tail));
}
inline void store_bytes(uint8_t* p, Bytes x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), x); }
inline Bytes interleave_low(Bytes a, Bytes b) { return _mm256_unpacklo_epi8(a, b); }  // in each 16 bytes
inline Bytes interleave_high(Bytes a, Bytes b) { return _mm256_unpackhi_epi8(a, b); }
// E4M3 as f16 has the same bits, one to the left, and an exponent that is 8 less: the factor of fp8.cpp. NaN is all ones.
inline Vec from_fp8(const uint8_t* p) {
  const __m128i wide = _mm_cvtepi8_epi16(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
  const __m128i bits = _mm_and_si128(_mm_slli_epi16(wide, 7), _mm_set1_epi16(static_cast<short>(0xbf80)));
  const __m128i nan = _mm_cmpeq_epi16(_mm_or_si128(wide, _mm_set1_epi16(-128)), _mm_set1_epi16(-1));
  return _mm256_cvtph_ps(_mm_blendv_epi8(bits, _mm_set1_epi16(0x7e00), nan));
}
// Elements [d, d + count) of a row in float32, then zeros.
template <KvType E>
inline Vec load_elems(const uint8_t* row, int d, int count) {
  if (E == KvType::fp8) {
    if (count == kWidth) return from_fp8(row + d);
    uint8_t tail[kWidth] = {};
    __builtin_memcpy(tail, row + d, static_cast<size_t>(count));
    return from_fp8(tail);
  }
  if (E == KvType::f32) {
    const float* from = reinterpret_cast<const float*>(row) + d;
    return count == kWidth ? _mm256_loadu_ps(from) : _mm256_maskload_ps(from, lanes_from(0, count));
  }
  __m128i bits;
  if (count == kWidth) {
    bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(row + 2 * d));
  } else {
    alignas(16) uint16_t tail[kWidth] = {};
    __builtin_memcpy(tail, row + 2 * d, static_cast<size_t>(count) * 2);
    bits = _mm_load_si128(reinterpret_cast<const __m128i*>(tail));
  }
  if (E == KvType::f16) return _mm256_cvtph_ps(bits);
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}

// `count` bytes of one row, then of another, half a register each.
inline Bytes load_halves(const uint8_t* first, const uint8_t* second, int count) {
  const auto half = [&](const uint8_t* p) {
    if (count == kBytes / 2) return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    alignas(16) uint8_t tail[kBytes / 2] = {};
    __builtin_memcpy(tail, p, static_cast<size_t>(count));
    return _mm_load_si128(reinterpret_cast<const __m128i*>(tail));
  };
  return _mm256_inserti128_si256(_mm256_castsi128_si256(half(first)), half(second), 1);
}
inline Bytes load_whole(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
inline void store_whole(void* p, Bytes x) { _mm256_storeu_si256(static_cast<__m256i*>(p), x); }
using Ints __attribute__((vector_size(32))) = int32_t;
inline Ints load_ints(const void* p) { return reinterpret_cast<Ints>(load_whole(p)); }
inline void store_ints(void* p, Ints x) { store_whole(p, reinterpret_cast<Bytes>(x)); }
inline Bytes splat_byte(int x) { return _mm256_set1_epi8(static_cast<char>(x)); }
inline Bytes and_bytes(Bytes a, Bytes b) { return _mm256_and_si256(a, b); }
inline Bytes flip_bytes(Bytes a, Bytes b) { return _mm256_xor_si256(a, b); }
inline Bytes subtract_bytes(Bytes a, Bytes b) { return _mm256_sub_epi8(a, b); }
inline Bytes high_fours(Bytes x) { return _mm256_srli_epi16(x, 4); }
constexpr bool kByteDots = false;  // sums of two products of all bytes do not stay in int16
inline Bytes splat_dword(const uint8_t* p) {
  int dword;
  __builtin_memcpy(&dword, p, sizeof dword);
  return _mm256_set1_epi32(dword);
}
inline Ints dot_pairs(Ints sum, Bytes a, Bytes b) { return sum + reinterpret_cast<Ints>(_mm256_madd_epi16(a, b)); }
// Of int4, whose products in pairs stay in int16.
inline Ints dot_fours(Ints sum, Bytes u, Bytes s) { return dot_pairs(sum, _mm256_maddubs_epi16(u, s), _mm256_set1_epi16(1)); }
inline Bytes even_bytes(Bytes x) { return _mm256_srai_epi16(_mm256_slli_epi16(x, 8), 8); }
inline Bytes odd_bytes(Bytes x) { return _mm256_srai_epi16(x, 8); }
inline Bytes interleave_words_low(Bytes a, Bytes b) { return _mm256_unpacklo_epi16(a, b); }
inline Bytes interleave_words_high(Bytes a, Bytes b) { return _mm256_unpackhi_epi16(a, b); }
// kWidth rows of half a register, row r and row r + 4 in each of x, to vectors of their dwords.
inline void transpose_fours(Bytes* x) {
  const Bytes a = _mm256_unpacklo_epi32(x[0], x[1]), b = _mm256_unpackhi_epi32(x[0], x[1]);
  const Bytes c = _mm256_unpacklo_epi32(x[2], x[3]), d = _mm256_unpackhi_epi32(x[2], x[3]);
  x[0] = _mm256_unpacklo_epi64(a, c), x[1] = _mm256_unpackhi_epi64(a, c);
  x[2] = _mm256_unpacklo_epi64(b, d), x[3] = _mm256_unpackhi_epi64(b, d);
}
constexpr int kNarrow = 0;  // no rows
inline void interleave_narrow(Bytes, Bytes, Bytes*) {}
// Dwords of four interleaved rows in the order of their bytes.
inline void in_byte_order(Bytes* x, int) {
  const Bytes a = x[0], b = x[1], c = x[2], d = x[3];
  x[0] = _mm256_permute2x128_si256(a, b, 0x20), x[1] = _mm256_permute2x128_si256(c, d, 0x20);
  x[2] = _mm256_permute2x128_si256(a, b, 0x31), x[3] = _mm256_permute2x128_si256(c, d, 0x31);
}
// The first and the last dwords of two vectors in turns.
inline Bytes zip_low(Bytes a, Bytes b) {
  return _mm256_permute2x128_si256(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b), 0x20);
}
inline Bytes zip_high(Bytes a, Bytes b) {
  return _mm256_permute2x128_si256(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b), 0x31);
}
inline Bytes as_bytes(Vec x) { return _mm256_castps_si256(x); }
inline Vec to_floats(Ints x) { return _mm256_cvtepi32_ps(reinterpret_cast<Bytes>(x)); }
inline Bytes max_ints(Bytes a, Bytes b) { return _mm256_max_epu32(a, b); }
inline uint32_t fold_max_ints(Bytes x) {
  const __m128i four = _mm_max_epu32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
  const __m128i two = _mm_max_epu32(four, _mm_shuffle_epi32(four, 0x4e));
  return static_cast<uint32_t>(_mm_cvtsi128_si32(_mm_max_epu32(two, _mm_shuffle_epi32(two, 0xb1))));
}
// kLanes floats as unsigned bytes for int4, else as int16, rounded to nearest even.
template <KvType E>
inline void store_weights(uint8_t* p, const Vec* x) {
  const __m256i mixed = _mm256_packs_epi32(_mm256_cvtps_epi32(x[0]), _mm256_cvtps_epi32(x[1]));
  const __m256i words = _mm256_permute4x64_epi64(mixed, 0xd8);
  if (E == KvType::int4)
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                     _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
  else
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), words);
}

inline void transpose(Vec* x) {
  Vec y[kWidth];
  for (int i = 0; i < kWidth; i += 2) {
    y[i] = _mm256_unpacklo_ps(x[i], x[i + 1]);
    y[i + 1] = _mm256_unpackhi_ps(x[i], x[i + 1]);
  }
  // After this, x[4 g + j] holds in its 128-bit lane q the column 4 q + j of rows 4 g .. 4 g + 3.
  for (int i = 0; i < kWidth; i += 4)
    for (int j = 0; j < 2; ++j) {
      const __m256d a = _mm256_castps_pd(y[i + j]), b = _mm256_castps_pd(y[i + 2 + j]);
      x[i + 2 * j] = _mm256_castpd_ps(_mm256_unpacklo_pd(a, b));
      x[i + 2 * j + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(a, b));
    }
  for (int j = 0; j < 4; ++j) {
    y[j] = _mm256_permute2f128_ps(x[j], x[4 + j], 0x20);
    y[4 + j] = _mm256_permute2f128_ps(x[j], x[4 + j], 0x31);
  }
  for (int i = 0; i < kWidth; ++i) x[i] = y[i];
}

inline float fold_sum(const Vec* sums) {
  const __m256 eight = _mm256_add_ps(sums[0], sums[1]);
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

inline float fold_max(Vec x) {
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

#include "backend/cpu/attend_kernels.inc"
#include "backend/cpu/kv_encode.inc"
#include "backend/cpu/kv_decode.inc"

}  // namespace

constinit const RowOps kAvx2RowOps = [] {
  RowOps ops = plain_row_ops();
  for (int i = 0; i < kNumKvTypes; ++i) {
    ops.attend_tile[i] = kAttendTiles[i];
    ops.kv_encode[i] = kKvEncoders[i];
    ops.kv_decode[i] = kKvDecoders[i];
  }
  return ops;
}();

}  // namespace sluice
