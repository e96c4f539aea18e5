#pragma once
// The rows of Q and K that a rotation pairs: neighbours (interleaved order), or one of each half (half order). Converters move them.

#include <cstdint>
#include <string_view>

namespace sluice {

/// Row r of a head in interleaved order (pairs 2i, 2i + 1) stands at i or i + d/2 in half order; past the d that are rotated,
/// where it was.
inline int64_t half_order_row(int64_t row, int64_t head_dim, int64_t rotary_dims) {
  const int64_t r = row % head_dim;
  return r >= rotary_dims ? row : row - r + r / 2 + r % 2 * (rotary_dims / 2);
}

/// Whether its rows, or a vector's elements, are rotated in pairs.
inline bool is_rotated(std::string_view key) {
  return key == "attn_q.weight" || key == "attn_k.weight" || key == "attn_q.bias" || key == "attn_k.bias" ||
         key == "attn_q_norm.weight" || key == "attn_k_norm.weight";
}

}  // namespace sluice
