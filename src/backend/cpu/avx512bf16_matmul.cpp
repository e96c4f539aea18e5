// The BF16 matmul kernel of AVX512_BF16; the other kernels are those of avx512vnni_matmul.cpp and avx512bw_matmul.cpp.

#include <immintrin.h>

#include "backend/cpu/matmul.h"

namespace sluice::avx512bf16 {
namespace {

#include "backend/cpu/avx512_vectors.inc"

// No block type is compiled here.
struct Dot4 {};
using Dot5 = Dot4;
using Dot8 = Dot4;
constexpr int kBlockRows = 1;

#include "backend/cpu/matmul_kernels.inc"

// While it lives, the CPU takes subnormal numbers as zero (BF16 in pairs, kernel_args.h).
struct FlushSubnormals {
  unsigned before;
  SLUICE_INLINE FlushSubnormals() : before(_mm_getcsr()) {
    _mm_setcsr(before | 0x8040);
    asm volatile("" : : : "memory");
  }
  SLUICE_INLINE ~FlushSubnormals() {
    asm volatile("" : : : "memory");
    _mm_setcsr(before);
  }
};

SLUICE_INLINE __m512bh pairs(__m512i bits) { return (__m512bh)bits; }

// The sums and the partial sum over n <= kFloatChunk values of k, in pairs: one vdpbf16ps per pair, 16 columns and row.
template <int R, int L>
void pair_tile(const uint8_t* const* w, const uint32_t* x, int n, const Sums& sums) {
  F sum[R][L];
  SLUICE_UNROLL for (int r = 0; r < R; ++r) SLUICE_UNROLL for (int l = 0; l < L; ++l) sum[r][l] = f_zero();
  for (int i = 0; i < (n + 1) / 2; ++i, x += R) {
    __m512bh v[L];
    SLUICE_UNROLL for (int l = 0; l < L; ++l) v[l] = pairs(b_load(w[l] + int64_t{i} * BF16::kStepBytes));
    SLUICE_UNROLL for (int r = 0; r < R; ++r) {
      const __m512bh a = pairs(_mm512_set1_epi32(static_cast<int>(x[r])));
      SLUICE_UNROLL for (int l = 0; l < L; ++l) sum[r][l] = _mm512_dpbf16_ps(sum[r][l], a, v[l]);
    }
  }
  put_partial(sum, sums);
}

struct PairRows : BF16 {
  using X = uint32_t;
  static constexpr int kValuesPerX = 2;
  template <int R, int L>
  static SLUICE_INLINE void tile(const uint8_t* const* w, const X* x, int n, const Sums& sums) {
    pair_tile<R, L>(w, x, n, sums);
  }
};

// 32 values of a row from i on as pairs; zeros from k on.
SLUICE_INLINE I load_pairs(const float* x, int64_t i, int64_t k) {
  const auto mask = [k](int64_t at) -> __mmask16 {
    return k - at >= 16 ? 0xffff : k <= at ? 0 : static_cast<__mmask16>((1u << (k - at)) - 1);
  };
  const F low = _mm512_maskz_loadu_ps(mask(i), x + i), high = _mm512_maskz_loadu_ps(mask(i + 16), x + i + 16);
  return (I)_mm512_cvtne2ps_pbh(high, low);
}

// R = 1, 2 or 4 of the `rows` rows, whose pairs stand side by side.
template <int R>
void arrange_rows(const float* x, int64_t stride, int64_t k, int rows, uint32_t* to) {
  for (int64_t i = 0; i < k; i += 32) {
    I v[R];
    SLUICE_UNROLL for (int r = 0; r < R; ++r) v[r] = load_pairs(x + r * stride, i, k);
    // Interleaved in each 128 bits: `place` of R values is where pair p of these rows comes to stand.
    if constexpr (R == 2) {
      const I low = _mm512_unpacklo_epi32(v[0], v[1]), high = _mm512_unpackhi_epi32(v[0], v[1]);
      v[0] = low, v[1] = high;
    }
    if constexpr (R == 4) {
      const I a = _mm512_unpacklo_epi32(v[0], v[1]), b = _mm512_unpackhi_epi32(v[0], v[1]);
      const I c = _mm512_unpacklo_epi32(v[2], v[3]), d = _mm512_unpackhi_epi32(v[2], v[3]);
      v[0] = _mm512_unpacklo_epi64(a, c), v[1] = _mm512_unpackhi_epi64(a, c);
      v[2] = _mm512_unpacklo_epi64(b, d), v[3] = _mm512_unpackhi_epi64(b, d);
    }
    const auto place = [](int p) { return R == 1 ? p : R == 2 ? p % 4 / 2 * 8 + p / 4 * 2 + p % 2 : p % 4 * 4 + p / 4; };
    alignas(64) uint32_t bits[16 * R];
    SLUICE_UNROLL for (int r = 0; r < R; ++r) _mm512_store_si512(bits + 16 * r, v[r]);
    const int count = static_cast<int>(k - i < 32 ? (k - i + 1) / 2 : 16);
    for (int p = 0; p < count; ++p) __builtin_memcpy(to + (i / 2 + p) * rows, bits + place(p) * R, 4 * R);
  }
}

}  // namespace

void matmul_bf16(const MatmulTile& t) {
  const FlushSubnormals flush;
  float_matmul<PairRows, kFloatRows>(t);
}
void arrange_pairs(const float* x, int64_t stride, int64_t k, int rows, void* out) {
  auto* to = static_cast<uint32_t*>(out);
  int r = 0;
  for (; r + 4 <= rows; r += 4) arrange_rows<4>(x + r * stride, stride, k, rows, to + r);
  for (; r + 2 <= rows; r += 2) arrange_rows<2>(x + r * stride, stride, k, rows, to + r);
  for (; r < rows; ++r) arrange_rows<1>(x + r * stride, stride, k, rows, to + r);
}

}  // namespace sluice::avx512bf16
