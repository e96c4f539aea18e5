#include "exec/kv_arena.h"

#include <cstring>

#include "exec/kv_tiles.h"
#include "exec/part_of_block.h"

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

bool KvArena::get(BlockId block, uint8_t* bytes) {
  for (const KvLayerView& layer : layers_) {
    const size_t n = layer.tile_bytes() * static_cast<size_t>(layer.kv_heads);
    for (const uint8_t* kv : {layer.k, layer.v}) {
      std::memcpy(bytes, kv + n * block, n);
      bytes += n;
    }
  }
  return true;
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

void KvArena::put_part(BlockId block, size_t at, std::span<const uint8_t> bytes) {
  PartOfBlock part(at, bytes);
  for (const KvLayerView& layer : layers_) {
    const size_t n = layer.tile_bytes() * static_cast<size_t>(layer.kv_heads);
    for (uint8_t* kv : {layer.k, layer.v}) part.into(kv + n * block, n);
  }
}

void KvArena::copy(const KvCopy& copy) {
  for (const KvLayerView& layer : layers_) copy_tiles(layer, copy);
}

}  // namespace sluice
