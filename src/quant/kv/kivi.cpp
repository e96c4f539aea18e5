// kivi2, kivi4: keys with a scale and a minimum per channel and 32 tokens, values with both per token and 32 channels, in 2
// or 4 bits: x = least + scale * code, in float16 each, so 3 or 5 bits a value (24 or 40 bytes for 64 dims, from f16's 128).
// Keys have channels of which all values are large and alike, which one scale per token spreads over all others.
// KIVI: Liu et al., ICML 2024. The newest tokens are kept in full until their block is full (the paper's residual R is
// --block-size, a multiple of 32). Other than in the paper, whose values have a sliding window and whose prompts are
// attended to before anything is quantized, values follow the keys' blocks and prompts read what later tokens read:
// so no chunk, batch or prefix hit changes a bit. Approximate.
//
// A tile: rows [block_tokens][row_bytes], where channel d's code stands in byte d % row_bytes, at bits (d / row_bytes) * bits;
// then of keys [block_tokens / 32][scale, least][head_dim], of values [block_tokens][scale, least][head_dim / 32], float16.

#include <algorithm>
#include <cmath>
#include <cstring>

#include "quant/kv/kv_format.h"
#include "tensor/dtype.h"

namespace sluice {
namespace {

#include "quant/kv/kivi_decode.inc"

int value_groups(int head_dim) { return (head_dim + kKiviGroup - 1) / kKiviGroup; }

template <int kBits>
size_t tile_bytes(int block_tokens, int head_dim) {
  return static_cast<size_t>(block_tokens) * static_cast<size_t>((head_dim * kBits + 7) / 8 + 4 * value_groups(head_dim));
}

/// What n values share, as it is stored.
struct Range {
  uint16_t scale_bits, least_bits;
  float scale, least;
  int levels;

  Range(const float* x, int n, int64_t stride, int most) : levels(most) {
    float low = x[0], high = x[0];
    bool finite = true;
    for (int i = 0; i < n; ++i) {
      const float v = x[i * stride];
      finite &= std::isfinite(v);
      low = std::min(low, v);
      high = std::max(high, v);
    }
    least_bits = f32_to_f16(low);
    least = f16_to_f32(least_bits);
    scale_bits = finite ? f32_to_f16((high - least) / static_cast<float>(levels)) : uint16_t{0x7e00};  // NaN
    scale = f16_to_f32(scale_bits);
  }
  int code(float x) const {
    if (!(scale > 0) || !std::isfinite(scale)) return 0;
    return static_cast<int>(std::clamp(std::nearbyint((x - least) / scale), 0.0f, static_cast<float>(levels)));
  }
  void store(uint8_t* scale_at, uint8_t* least_at) const {
    std::memcpy(scale_at, &scale_bits, 2);
    std::memcpy(least_at, &least_bits, 2);
  }
};

template <int kBits>
void encode(KvPart part, const float* x, int block_tokens, int head_dim, uint8_t* tile) {
  constexpr int kLevels = (1 << kBits) - 1;
  const int row_bytes = (head_dim * kBits + 7) / 8, groups = value_groups(head_dim);
  uint8_t* side = tile + static_cast<int64_t>(block_tokens) * row_bytes;
  std::memset(tile, 0, tile_bytes<kBits>(block_tokens, head_dim));
  const auto put = [&](int t, int d, int code) {
    tile[static_cast<int64_t>(t) * row_bytes + d % row_bytes] |= static_cast<uint8_t>(code << d / row_bytes * kBits);
  };
  if (part == KvPart::keys) {
    for (int first = 0; first < block_tokens; first += kKiviGroup, side += 4 * head_dim)
      for (int d = 0; d < head_dim; ++d) {
        const float* channel = x + static_cast<int64_t>(first) * head_dim + d;
        const Range range(channel, kKiviGroup, head_dim, kLevels);
        range.store(side + 2 * d, side + 2 * (head_dim + d));
        for (int t = 0; t < kKiviGroup; ++t) put(first + t, d, range.code(channel[static_cast<int64_t>(t) * head_dim]));
      }
    return;
  }
  for (int t = 0; t < block_tokens; ++t, side += 4 * groups, x += head_dim)
    for (int group = 0; group < groups; ++group) {
      const int first = group * kKiviGroup, n = std::min(kKiviGroup, head_dim - first);
      const Range range(x + first, n, 1, kLevels);
      range.store(side + 2 * group, side + 2 * (groups + group));
      for (int d = first; d < first + n; ++d) put(t, d, range.code(x[d]));
    }
}

template <int kBits>
constexpr KvBlockCodec kCodec = {kKiviGroup, tile_bytes<kBits>, encode<kBits>, kivi_decode<kBits>};

}  // namespace

const KvFormat kKvKivi2 = {.type = KvType::kivi2, .name = "kivi2", .elem_bits = 2, .block = &kCodec<2>};
const KvFormat kKvKivi4 = {.type = KvType::kivi4, .name = "kivi4", .elem_bits = 4, .block = &kCodec<4>};

}  // namespace sluice
