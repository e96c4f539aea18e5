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

// acc[r][l] += partial sum over n <= kFloatChunk values of k, in pairs: one vdpbf16ps per pair, 16 columns and row.
template <int R, int L>
void pair_tile(const uint8_t* const* w, const uint32_t* x, int n, float* acc) {
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
  SLUICE_UNROLL for (int r = 0; r < R; ++r) SLUICE_UNROLL for (int l = 0; l < L; ++l) {
    float* to = acc + (r * L + l) * kLanes;
    f_store(to, f_add(f_load(to), sum[r][l]));
  }
}

struct PairRows : BF16 {
  using X = uint32_t;
  static constexpr int kValuesPerX = 2;
  template <int R, int L>
  static SLUICE_INLINE void tile(const uint8_t* const* w, const X* x, int n, float* acc) {
    pair_tile<R, L>(w, x, n, acc);
  }
};

}  // namespace

void matmul_bf16(const MatmulTile& t) {
  const FlushSubnormals flush;
  float_matmul<PairRows, kFloatRows>(t);
}
void arrange_pairs(const float* x, int64_t stride, int64_t k, int rows, void* out) {
  auto* to = static_cast<uint32_t*>(out);
  const auto mask = [k](int64_t i) -> __mmask16 {
    return k - i >= 16 ? 0xffff : k <= i ? 0 : static_cast<__mmask16>((1u << (k - i)) - 1);
  };
  for (int r = 0; r < rows; ++r)
    for (int64_t i = 0; i < k; i += 32) {
      const F low = _mm512_maskz_loadu_ps(mask(i), x + r * stride + i);
      const F high = _mm512_maskz_loadu_ps(mask(i + 16), x + r * stride + i + 16);
      alignas(64) uint32_t bits[16];
      _mm512_store_si512(bits, (__m512i)_mm512_cvtne2ps_pbh(high, low));
      const int count = static_cast<int>(k - i < 32 ? (k - i + 1) / 2 : 16);
      for (int j = 0; j < count; ++j) to[(i / 2 + j) * rows + r] = bits[j];
    }
}

}  // namespace sluice::avx512bf16
