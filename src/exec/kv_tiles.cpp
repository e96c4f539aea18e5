#include "exec/kv_tiles.h"

#include <cstring>

#include "exec/kv_rows.h"

namespace sluice {

void copy_tiles(const KvLayerView& layer, const KvCopy& copy) {
  if (layer.state_bytes > 0) {  // which is that of the source's last token: nobody copies fewer than it has
    std::memcpy(layer.k + copy.dst * layer.state_bytes, layer.k + copy.src * layer.state_bytes, layer.state_bytes);
    return;
  }
  const KvFormat& format = *layer.format;
  const size_t rows = format.row_bytes(layer.head_dim) * static_cast<size_t>(copy.tokens);
  const size_t sides = static_cast<size_t>(format.side_bytes) * static_cast<size_t>(copy.tokens);
  for (int s = 0; s < layer.sides(); ++s)
    for (int head = 0; head < layer.kv_heads; ++head) {
      uint8_t* const kv = s == 0 ? layer.k : layer.v;
      const KvRow to(layer, kv, copy.dst, copy.dst_offset, head), from(layer, kv, copy.src, copy.src_offset, head);
      std::memcpy(to.row, from.row, rows);
      std::memcpy(to.side, from.side, sides);
    }
}

}  // namespace sluice
