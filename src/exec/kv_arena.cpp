#include "exec/kv_arena.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "exec/kv_tiles.h"
#include "exec/part_of_block.h"

namespace sluice {

namespace {

/// Of one block on one side, of a layer of the group in this format.
size_t side_bytes(const KvGroup& g, const KvFormat& format, int block_tokens) {
  return g.kind == KvGroup::Kind::state ? g.state_bytes : static_cast<size_t>(g.kv_heads) * format.tile_bytes(block_tokens, g.head_dim);
}
size_t sides_of(const KvGroup& g) { return g.kind == KvGroup::Kind::state || g.kind == KvGroup::Kind::latent ? 1 : 2; }

/// The sum of f(group, format) over layers.
template <class F>
size_t sum_layers(const KvSpec& spec, const KvFormats& formats, F f) {
  size_t bytes = 0;
  int layer = 0;
  for (const KvGroup& g : spec.groups)
    for (int l = 0; l < g.layers; ++l) bytes += f(g, formats.of(layer++));
  return bytes;
}

}  // namespace

size_t KvArena::block_bytes(const KvSpec& spec, const KvFormats& formats, int block_tokens) {
  return sum_layers(spec, formats, [&](const KvGroup& g, const KvFormat& f) { return sides_of(g) * side_bytes(g, f, block_tokens); });
}

size_t KvArena::page_bytes(const KvSpec& spec, const KvFormats& formats, int block_tokens) {
  return sum_layers(spec, formats, [&](const KvGroup& g, const KvFormat& f) { return g.reach(block_tokens) == 0 ? 0 : sides_of(g) * side_bytes(g, f, block_tokens); });
}

size_t KvArena::open_block_bytes(const KvSpec& spec, const KvFormats& formats, int block_tokens) {
  return sum_layers(spec, formats, [&](const KvGroup& g, const KvFormat& f) {
    return f.block == nullptr || g.kind == KvGroup::Kind::state ? 0 : sides_of(g) * side_bytes(g, kKvF16, block_tokens);
  });
}

Result<KvArena> KvArena::allocate(const KvSpec& spec, const KvFormats& formats, int blocks, int block_tokens, int open_blocks, int pages) {
  KvArena arena;
  const int cluster = cluster_blocks(block_tokens);
  const auto whole_tiles = [&](int n) { return (n + cluster - 1) / cluster * cluster; };
  blocks = whole_tiles(blocks);
  pages = whole_tiles(pages);
  CHECK(pages == 0 || !formats.seals(), "open rows are found by block");
  const size_t in_pages = pages > 0 ? page_bytes(spec, formats, block_tokens) : 0;
  SLUICE_TRY(arena.buffer_, Buffer::allocate((block_bytes(spec, formats, block_tokens) - in_pages) * static_cast<size_t>(blocks) + in_pages * static_cast<size_t>(pages)));
  uint8_t* at = arena.buffer_.data();
  for (const KvGroup& group : spec.groups)
    for (int l = 0; l < group.layers; ++l) {
      const bool state = group.kind == KvGroup::Kind::state;
      const KvFormat& format = state ? kKvF32 : formats.of(static_cast<int>(arena.layers_.size()));
      CHECK(block_tokens % format.group_tokens() == 0, "blocks of {} tokens in groups of {}", block_tokens, format.group_tokens());
      if (sides_of(group) == 1 && format.block != nullptr)
        return invalid_argument(fmt::format("{} encodes keys and values apart, but this model keeps one latent row for both; take a format "
                                            "that encodes token by token", format.name), "--kv-cache-dtype");
      const bool recent = pages > 0 && group.reach(block_tokens) > 0;
      const size_t side = static_cast<size_t>(recent ? pages : blocks) * side_bytes(group, format, block_tokens);
      KvLayerView view{&format, block_tokens, group.kv_heads, group.head_dim, at, sides_of(group) == 2 ? at + side : at};
      view.state_bytes = state ? group.state_bytes : 0;
      view.blocks_of_tile = state || format.block != nullptr ? 1 : cluster;
      view.in_pages = recent;
      arena.layers_.push_back(view);
      at += sides_of(group) * side;
    }
  for (size_t l = 0; l < arena.layers_.size(); ++l) {
    const int side = formats.side(static_cast<int>(l));
    KvLayerView& layer = arena.layers_[l];
    if (!layer.format->pairs()) continue;
    const size_t lower = l - static_cast<size_t>(std::max(side, 0));
    if (side < 0 || lower + 1 >= arena.layers_.size() || arena.layers_[lower].kv_heads != arena.layers_[lower + 1].kv_heads ||
        arena.layers_[lower].head_dim != arena.layers_[lower + 1].head_dim)
      return invalid_argument(fmt::format("layer {} has no other of its shape with which {} could merge it", l, layer.format->name), "--kv-cache-dtype");
    layer.pair = &arena.layers_[lower];  // which stay where they are when the arena is moved
    layer.side = side;
    arena.pairs_ = true;
  }
  if (!formats.seals()) return arena;
  if (open_blocks > 0) arena.open_ = OpenBlocks(blocks, open_blocks);
  const size_t tiles = static_cast<size_t>(open_blocks > 0 ? open_blocks : blocks);
  SLUICE_TRY(arena.open_buffer_, Buffer::allocate(open_block_bytes(spec, formats, block_tokens) * tiles));
  uint8_t* open = arena.open_buffer_.data();
  for (KvLayerView& layer : arena.layers_) {
    if (layer.format->block == nullptr) continue;
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
    // One that has gone back, since a block was lost, may have left one open.
    if (first % block_tokens == 0)
      for (size_t i = static_cast<size_t>(last / block_tokens) + 1; i < item.blocks.size(); ++i) open_.close(item.blocks[i]);
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
  each_piece(block, [&](const uint8_t* piece, size_t n) {
    std::memcpy(bytes, piece, n);
    bytes += n;
  });
  return true;
}

void KvArena::put(BlockId block, const uint8_t* bytes) {
  each_piece(block, [&](uint8_t* piece, size_t n) {
    std::memcpy(piece, bytes, n);
    bytes += n;
  });
}

void KvArena::get_part(BlockId block, size_t at, std::span<uint8_t> bytes) const {
  PartOfBlock part(at, bytes);
  each_piece(block, [&](const uint8_t* piece, size_t n) { part.out_of(piece, n); });
}

void KvArena::put_part(BlockId block, size_t at, std::span<const uint8_t> bytes) {
  PartOfBlock part(at, bytes);
  each_piece(block, [&](uint8_t* piece, size_t n) { part.into(piece, n); });
}

void KvArena::copy(const KvCopy& copy) {
  if (copy.tokens == 0) return;
  if (!open_.tiles().empty()) open_.open(copy.dst);
  for (const KvLayerView& layer : layers_) {
    if (layer.format->block == nullptr) {
      KvCopy tiles = copy;
      if (layer.in_pages) tiles.src = copy.src_page, tiles.dst = copy.dst_page;
      copy_tiles(layer, tiles);
      continue;
    }
    // What is copied is a block that is not full.
    CHECK(copy.tokens < layer.block_tokens, "all {} tokens of block {} are copied", copy.tokens, copy.src);
    KvLayerView rows = layer;
    rows.format = &kKvF16, rows.k = layer.open_k, rows.v = layer.open_v;
    copy_tiles(rows, {layer.open_tile(copy.src), layer.open_tile(copy.dst), copy.tokens});
  }
}

}  // namespace sluice
