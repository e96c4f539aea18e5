#pragma once
// One token's row of one KV head in a layer's tiles, of keys or of values, in a format that encodes token by token.

#include "backend/ops.h"

namespace sluice {

struct KvRow {
  uint8_t *row, *side;

  /// `base`: the layer's k or v.
  KvRow(const KvLayerView& kv, uint8_t* base, BlockId block, int offset, int kv_head) {
    const size_t tokens = static_cast<size_t>(kv.tile_tokens()), slot = size_t{block} * static_cast<size_t>(kv.block_tokens) + static_cast<size_t>(offset);
    uint8_t* tile = base + (slot / tokens * static_cast<size_t>(kv.kv_heads) + static_cast<size_t>(kv_head)) * kv.tile_bytes();
    row = tile + slot % tokens * kv.format->row_bytes(kv.head_dim);
    side = tile + kv.format->side_offset(kv.tile_tokens(), kv.head_dim) + slot % tokens * static_cast<size_t>(kv.format->side_bytes);
  }

  /// Its values, out[head_dim].
  void decode(const KvLayerView& kv, float* out) const {
    const float factor = kv.format->decode(row, side, kv.head_dim, out);
    for (int i = 0; i < kv.head_dim; ++i) out[i] *= factor;
  }
  void encode(const KvLayerView& kv, const float* x) const { kv.format->encode(x, kv.head_dim, row, side); }
};

}  // namespace sluice
