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

Result<KvArena> KvArena::allocate(const KvSpec& spec, const KvFormat& format, int blocks, int block_tokens, int open_blocks) {
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
  if (format.block == nullptr) return arena;
  CHECK(block_tokens % format.block->group_tokens == 0, "blocks of {} tokens in groups of {}", block_tokens, format.block->group_tokens);
  if (open_blocks > 0) arena.open_ = OpenBlocks(blocks, open_blocks);
  const size_t tiles = static_cast<size_t>(open_blocks > 0 ? open_blocks : blocks);
  SLUICE_TRY(arena.open_buffer_, Buffer::allocate(block_bytes(spec, kKvF16, block_tokens) * tiles));
  uint8_t* open = arena.open_buffer_.data();
  for (KvLayerView& layer : arena.layers_) {
    const size_t side = tiles * static_cast<size_t>(layer.kv_heads) * kKvF16.tile_bytes(block_tokens, layer.head_dim);
    layer.open_k = open;
    layer.open_v = open + side;
    if (open_blocks > 0) layer.open_tiles = arena.open_.tiles().data();
    open += 2 * side;
  }
  return arena;
}

void KvArena::prepare(const StepPlan& plan) {
  if (open_.tiles().empty()) return;
  for (const BlockId block : plan.freed) open_.close(block);
  const int block_tokens = layers_[0].block_tokens;
  for (const PlanItem& item : plan.items) {
    const int first = item.first_pos - item.dropped, last = first + item.n_tokens - 1;
    for (int i = first / block_tokens; i <= last / block_tokens; ++i) open_.open(item.blocks[static_cast<size_t>(i)]);
  }
}

void KvArena::finish(const StepPlan& plan) {
  if (open_.tiles().empty()) return;
  const int block_tokens = layers_[0].block_tokens;
  for (const PlanItem& item : plan.items) {
    const int first = item.first_pos - item.dropped, end = first + item.n_tokens;
    for (int i = first / block_tokens; i < end / block_tokens; ++i) open_.close(item.blocks[static_cast<size_t>(i)]);
  }
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
  if (copy.tokens == 0) return;
  if (open_buffer_.bytes() == 0) {
    for (const KvLayerView& layer : layers_) copy_tiles(layer, copy);
    return;
  }
  // A block that is copied is one that is not full.
  CHECK(copy.tokens < layers_[0].block_tokens, "all {} tokens of block {} are copied", copy.tokens, copy.src);
  if (!open_.tiles().empty()) open_.open(copy.dst);
  for (const KvLayerView& layer : layers_) {
    KvLayerView rows = layer;
    rows.format = &kKvF16, rows.k = layer.open_k, rows.v = layer.open_v;
    copy_tiles(rows, {layer.open_tile(copy.src), layer.open_tile(copy.dst), copy.tokens});
  }
}

}  // namespace sluice
