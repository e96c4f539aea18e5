#include "exec/kv_arena.h"

#include <cstring>

namespace sluice {

size_t KvArena::block_bytes(const KvSpec& spec, const KvFormat& format, int block_tokens) {
  size_t bytes = 0;
  for (const KvGroup& g : spec.groups)
    bytes += size_t{2} * g.layers * g.kv_heads * format.tile_bytes(block_tokens, g.head_dim);
  return bytes;
}

Result<KvArena> KvArena::allocate(const KvSpec& spec, const KvFormat& format, int blocks, int block_tokens) {
  KvArena arena;
  SLUICE_TRY(arena.buffer_, Buffer::allocate(block_bytes(spec, format, block_tokens) * static_cast<size_t>(blocks)));
  uint8_t* at = arena.buffer_.data();
  for (const KvGroup& group : spec.groups) {
    const size_t side = size_t{1} * blocks * group.kv_heads * format.tile_bytes(block_tokens, group.head_dim);
    for (int l = 0; l < group.layers; ++l) {
      arena.layers_.push_back({&format, block_tokens, group.kv_heads, group.head_dim, at, at + side});
      at += 2 * side;
    }
  }
  return arena;
}

void KvArena::get(BlockId block, uint8_t* bytes) const {
  for (const KvLayerView& layer : layers_) {
    const size_t n = layer.tile_bytes() * static_cast<size_t>(layer.kv_heads);
    for (const uint8_t* kv : {layer.k, layer.v}) {
      std::memcpy(bytes, kv + n * block, n);
      bytes += n;
    }
  }
}

void KvArena::put(BlockId block, const uint8_t* bytes) {
  for (const KvLayerView& layer : layers_) {
    const size_t n = layer.tile_bytes() * static_cast<size_t>(layer.kv_heads);
    for (uint8_t* kv : {layer.k, layer.v}) {
      std::memcpy(kv + n * block, bytes, n);
      bytes += n;
    }
  }
}

void KvArena::copy(const KvCopy& copy) {
  for (const KvLayerView& layer : layers_) {
    const KvFormat& format = *layer.format;
    const size_t tile = layer.tile_bytes(), block = tile * static_cast<size_t>(layer.kv_heads);
    const size_t side_at = format.side_offset(layer.block_tokens, layer.head_dim);
    const size_t rows = format.row_bytes(layer.head_dim) * static_cast<size_t>(copy.tokens);
    const size_t sides = static_cast<size_t>(format.side_bytes) * static_cast<size_t>(copy.tokens);
    for (uint8_t* kv : {layer.k, layer.v})
      for (size_t at = 0; at < block; at += tile) {
        uint8_t* to = kv + copy.dst * block + at;
        const uint8_t* from = kv + copy.src * block + at;
        std::memcpy(to, from, rows);
        std::memcpy(to + side_at, from + side_at, sides);
      }
  }
}

}  // namespace sluice
