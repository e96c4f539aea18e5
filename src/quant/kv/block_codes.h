#pragma once
// Codes of a few bits with a scale and a minimum per group, the base of kivi.cpp and gear.cpp: x = least + scale * code, in
// float16 each. A tile: rows [block_tokens][row_bytes], where channel d's code stands in byte d % row_bytes, at bits
// (d / row_bytes) * bits; then of keys [groups of tokens][scale, least][head_dim], of values [block_tokens][scale,
// least][groups of channels], float16. block_codes.inc decodes.

#include <algorithm>
#include <cmath>
#include <cstring>

#include "quant/kv/kv_type.h"
#include "tensor/dtype.h"

namespace sluice::block_codes {

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

/// `tile` is zero where codes and scales stand. `group_tokens` divides block_tokens.
template <int kBits>
void encode(KvPart part, int group_tokens, int group_channels, const float* x, int block_tokens, int head_dim, uint8_t* tile) {
  constexpr int kLevels = (1 << kBits) - 1;
  const int row_bytes = (head_dim * kBits + 7) / 8, groups = (head_dim + group_channels - 1) / group_channels;
  uint8_t* side = tile + static_cast<int64_t>(block_tokens) * row_bytes;
  const auto put = [&](int t, int d, int code) {
    tile[static_cast<int64_t>(t) * row_bytes + d % row_bytes] |= static_cast<uint8_t>(code << d / row_bytes * kBits);
  };
  if (part == KvPart::keys) {
    for (int first = 0; first < block_tokens; first += group_tokens, side += 4 * head_dim)
      for (int d = 0; d < head_dim; ++d) {
        const float* channel = x + static_cast<int64_t>(first) * head_dim + d;
        const Range range(channel, group_tokens, head_dim, kLevels);
        range.store(side + 2 * d, side + 2 * (head_dim + d));
        for (int t = 0; t < group_tokens; ++t) put(first + t, d, range.code(channel[static_cast<int64_t>(t) * head_dim]));
      }
    return;
  }
  for (int t = 0; t < block_tokens; ++t, side += 4 * groups, x += head_dim)
    for (int group = 0; group < groups; ++group) {
      const int first = group * group_channels, n = std::min(group_channels, head_dim - first);
      const Range range(x + first, n, 1, kLevels);
      range.store(side + 2 * group, side + 2 * (groups + group));
      for (int d = first; d < first + n; ++d) put(t, d, range.code(x[d]));
    }
}

}  // namespace sluice::block_codes
