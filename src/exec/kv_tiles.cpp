#include "exec/kv_tiles.h"

#include <cstring>

namespace sluice {

void copy_tiles(const KvLayerView& layer, const KvCopy& copy) {
  if (layer.state_bytes > 0) {  // which is that of the source's last token: nobody copies fewer than it has
    std::memcpy(layer.k + copy.dst * layer.state_bytes, layer.k + copy.src * layer.state_bytes, layer.state_bytes);
    return;
  }
  const KvFormat& format = *layer.format;
  const size_t tile = layer.tile_bytes(), block = tile * static_cast<size_t>(layer.kv_heads);
  const size_t side_at = format.side_offset(layer.block_tokens, layer.head_dim);
  const size_t rows = format.row_bytes(layer.head_dim) * static_cast<size_t>(copy.tokens);
  const size_t sides = static_cast<size_t>(format.side_bytes) * static_cast<size_t>(copy.tokens);
  const size_t row = format.row_bytes(layer.head_dim), side = static_cast<size_t>(format.side_bytes);
  const size_t from_slot = static_cast<size_t>(copy.src_offset), to_slot = static_cast<size_t>(copy.dst_offset);
  for (int s = 0; s < layer.sides(); ++s)
    for (size_t at = 0; at < block; at += tile) {
      uint8_t* const kv = s == 0 ? layer.k : layer.v;
      uint8_t* to = kv + copy.dst * block + at;
      const uint8_t* from = kv + copy.src * block + at;
      std::memcpy(to + to_slot * row, from + from_slot * row, rows);
      std::memcpy(to + side_at + to_slot * side, from + side_at + from_slot * side, sides);
    }
}

}  // namespace sluice
