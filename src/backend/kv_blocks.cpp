#include "backend/kv_blocks.h"

#include <algorithm>
#include <vector>

#include "backend/key_rotation.h"

namespace sluice {
namespace {

// Rows of kKvF16, for tables that have nothing faster.
void decode_open(KvPart, const uint8_t* tile, int, int head_dim, int first, int count, float* x) {
  const size_t row_bytes = kKvF16.row_bytes(head_dim);
  for (int t = 0; t < count; ++t, x += head_dim)
    kKvF16.decode(tile + static_cast<size_t>(first + t) * row_bytes, nullptr, head_dim, x);
}

/// How the view's keys are turned for its format; null: not.
const KeyRotation* key_rotation(const KvLayerView& kv) { return kv.format->block->unrotated_keys ? kv.rotation : nullptr; }

KvDecodeFn* or_else(KvDecodeFn* own, KvDecodeFn* portable) { return own != nullptr ? own : portable; }

// What sealed tiles are in, or their codes.
const KvFormat& unpacked_format(const KvFormat& f) { return f.pairs() ? *f.block->pair->directions : f; }

size_t tile_number(const KvLayerView& kv, size_t block, size_t head) { return block * static_cast<size_t>(kv.kv_heads) + head; }

/// Where a layer's tiles stand.
uint8_t* sealed_tile(const KvLayerView& kv, KvPart part, size_t block, size_t head) {
  return (part == KvPart::keys ? kv.k : kv.v) + tile_number(kv, block, head) * kv.tile_bytes();
}
uint8_t* open_tile(const KvLayerView& kv, KvPart part, size_t block, size_t head) {
  return (part == KvPart::keys ? kv.open_k : kv.open_v) +
         tile_number(kv, kv.open_tile(static_cast<BlockId>(block)), head) * kKvF16.tile_bytes(kv.block_tokens, kv.head_dim);
}

}  // namespace

KvUnpack::KvUnpack(const KvLayerView& kv, const RowOps& ops)
    : kv_(kv),
      ops_(ops),
      sealed_(or_else(ops.kv_decode[static_cast<size_t>(unpacked_format(*kv.format).type)], unpacked_format(*kv.format).block->decode)),
      open_(or_else(ops.kv_decode[static_cast<size_t>(KvType::f16)], decode_open)) {}

void KvUnpack::read(KvPart part, int kv_head, const BlockId* blocks, int64_t lo, int64_t hi, int64_t open_from, float* x) const {
  const auto head = static_cast<size_t>(kv_head);
  for (int64_t pos = lo; pos < hi;) {
    const BlockId block = blocks[pos / kv_.block_tokens];
    const int offset = static_cast<int>(pos % kv_.block_tokens);
    const int count = static_cast<int>(std::min<int64_t>(kv_.block_tokens - offset, hi - pos));
    if (pos >= open_from) {
      open_(part, open_tile(kv_, part, block, head), kv_.block_tokens, kv_.head_dim, offset, count, x);
    } else if (kv_.pair == nullptr) {
      sealed_(part, sealed_tile(kv_, part, block, head), kv_.block_tokens, kv_.head_dim, offset, count, x);
      if (const KeyRotation* r = key_rotation(kv_); r != nullptr && part == KvPart::keys) r->turn(KeyRotation::Way::forth, ops_, x, kv_.head_dim, offset, count);
    } else {
      const uint8_t* const tiles[] = {sealed_tile(kv_.pair[0], part, block, head), sealed_tile(kv_.pair[1], part, block, head)};
      kv_.format->block->pair->decode(part, kv_.side, tiles, kv_.block_tokens, kv_.head_dim, offset, count, sealed_, x);
    }
    x += static_cast<int64_t>(count) * kv_.head_dim;
    pos += count;
  }
}

void write_kv_blocks(const float* k, const float* v, std::span<const int64_t> slots, const KvLayerView& kv, const RowOps& ops,
                     ThreadPool& pool) {
  KvEncodeFn* const own = ops.kv_encode[static_cast<size_t>(KvType::f16)];
  KvEncodeFn* const encode_row = own != nullptr ? own : kKvF16.encode;
  KvDecodeFn* const decode_rows = or_else(ops.kv_decode[static_cast<size_t>(KvType::f16)], decode_open);
  const auto heads = static_cast<size_t>(kv.kv_heads), values = static_cast<size_t>(kv.block_tokens) * static_cast<size_t>(kv.head_dim);
  const size_t row_bytes = kKvF16.row_bytes(kv.head_dim);
  static thread_local std::vector<BlockId> own_full;
  std::vector<BlockId>& full = own_full;  // the caller's, in every worker
  full.clear();
  for (const int64_t slot : slots)
    if (slot % kv.block_tokens == kv.block_tokens - 1) full.push_back(static_cast<BlockId>(slot / kv.block_tokens));
  pool.run_if(slots.size() > 32, static_cast<int>(slots.size()), [&](int row, int) {
    const auto block = static_cast<size_t>(slots[static_cast<size_t>(row)] / kv.block_tokens);
    const size_t at = static_cast<size_t>(slots[static_cast<size_t>(row)] % kv.block_tokens) * row_bytes;
    for (size_t head = 0; head < heads; ++head) {
      const size_t from = (static_cast<size_t>(row) * heads + head) * static_cast<size_t>(kv.head_dim);
      encode_row(k + from, kv.head_dim, open_tile(kv, KvPart::keys, block, head) + at, nullptr);
      encode_row(v + from, kv.head_dim, open_tile(kv, KvPart::values, block, head) + at, nullptr);
    }
  });
  if (kv.pair != nullptr && kv.side == 0) return;  // the upper layer seals for both
  pool.run_if(!full.empty(), static_cast<int>(2 * heads * full.size()), [&](int task, int) {
    const KvPart part = task % 2 == 0 ? KvPart::keys : KvPart::values;
    const size_t head = static_cast<size_t>(task / 2) % heads, block = full[static_cast<size_t>(task / 2) / heads];
    static thread_local std::vector<float> rows;
    rows.resize(2 * values);
    const auto in_full = [&](const KvLayerView& layer, float* x) {
      decode_rows(part, open_tile(layer, part, block, head), kv.block_tokens, kv.head_dim, 0, kv.block_tokens, x);
    };
    if (kv.pair == nullptr) {
      in_full(kv, rows.data());
      if (const KeyRotation* r = key_rotation(kv); r != nullptr && part == KvPart::keys)
        r->turn(KeyRotation::Way::back, ops, rows.data(), kv.head_dim, 0, kv.block_tokens);
      kv.format->block->encode(part, rows.data(), kv.block_tokens, kv.head_dim, sealed_tile(kv, part, block, head));
      return;
    }
    const float* const x[] = {rows.data(), rows.data() + values};
    uint8_t* const tiles[] = {sealed_tile(kv.pair[0], part, block, head), sealed_tile(kv.pair[1], part, block, head)};
    in_full(kv.pair[0], rows.data());
    in_full(kv.pair[1], rows.data() + values);
    kv.format->block->pair->encode(part, x, kv.block_tokens, kv.head_dim, tiles);
  });
}

}  // namespace sluice
