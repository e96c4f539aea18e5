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

}  // namespace

KvUnpack::KvUnpack(const KvLayerView& kv, const RowOps& ops)
    : kv_(kv),
      ops_(ops),
      sealed_(or_else(ops.kv_decode[static_cast<size_t>(kv.format->type)], kv.format->block->decode)),
      open_(or_else(ops.kv_decode[static_cast<size_t>(KvType::f16)], decode_open)) {}

void KvUnpack::read(KvPart part, int kv_head, const BlockId* blocks, int64_t lo, int64_t hi, int64_t open_from, float* x) const {
  const uint8_t* sealed = part == KvPart::keys ? kv_.k : kv_.v;
  const uint8_t* open = part == KvPart::keys ? kv_.open_k : kv_.open_v;
  const size_t sealed_bytes = kv_.tile_bytes(), open_bytes = kKvF16.tile_bytes(kv_.block_tokens, kv_.head_dim);
  const auto tile = [&](const uint8_t* base, size_t block, size_t bytes) {
    return base + (block * static_cast<size_t>(kv_.kv_heads) + static_cast<size_t>(kv_head)) * bytes;
  };
  for (int64_t pos = lo; pos < hi;) {
    const BlockId block = blocks[pos / kv_.block_tokens];
    const int offset = static_cast<int>(pos % kv_.block_tokens);
    const int count = static_cast<int>(std::min<int64_t>(kv_.block_tokens - offset, hi - pos));
    if (pos < open_from) {
      sealed_(part, tile(sealed, block, sealed_bytes), kv_.block_tokens, kv_.head_dim, offset, count, x);
      if (const KeyRotation* r = key_rotation(kv_); r != nullptr && part == KvPart::keys) r->turn(KeyRotation::Way::forth, ops_, x, kv_.head_dim, offset, count);
    } else open_(part, tile(open, kv_.open_tile(block), open_bytes), kv_.block_tokens, kv_.head_dim, offset, count, x);
    x += static_cast<int64_t>(count) * kv_.head_dim;
    pos += count;
  }
}

void write_kv_blocks(const float* k, const float* v, std::span<const int64_t> slots, const KvLayerView& kv, const RowOps& ops,
                     ThreadPool& pool) {
  KvEncodeFn* const own = ops.kv_encode[static_cast<size_t>(KvType::f16)];
  KvEncodeFn* const encode_row = own != nullptr ? own : kKvF16.encode;
  KvDecodeFn* const decode_rows = or_else(ops.kv_decode[static_cast<size_t>(KvType::f16)], decode_open);
  const auto heads = static_cast<size_t>(kv.kv_heads);
  const size_t row_bytes = kKvF16.row_bytes(kv.head_dim), open_bytes = kKvF16.tile_bytes(kv.block_tokens, kv.head_dim);
  static thread_local std::vector<BlockId> own_full;
  std::vector<BlockId>& full = own_full;  // the caller's, in every worker
  full.clear();
  for (const int64_t slot : slots)
    if (slot % kv.block_tokens == kv.block_tokens - 1) full.push_back(static_cast<BlockId>(slot / kv.block_tokens));
  pool.run_if(slots.size() > 32, static_cast<int>(slots.size()), [&](int row, int) {
    const int64_t slot = slots[static_cast<size_t>(row)];
    const size_t tile = kv.open_tile(static_cast<BlockId>(slot / kv.block_tokens));
    for (size_t head = 0; head < heads; ++head) {
      const size_t from = (static_cast<size_t>(row) * heads + head) * static_cast<size_t>(kv.head_dim);
      const size_t to = (tile * heads + head) * open_bytes + static_cast<size_t>(slot % kv.block_tokens) * row_bytes;
      encode_row(k + from, kv.head_dim, kv.open_k + to, nullptr);
      encode_row(v + from, kv.head_dim, kv.open_v + to, nullptr);
    }
  });
  pool.run_if(!full.empty(), static_cast<int>(2 * heads * full.size()), [&](int task, int) {
    const KvPart part = task % 2 == 0 ? KvPart::keys : KvPart::values;
    const size_t head = static_cast<size_t>(task / 2) % heads;
    const BlockId block = full[static_cast<size_t>(task / 2) / heads];
    static thread_local std::vector<float> rows;
    rows.resize(static_cast<size_t>(kv.block_tokens) * static_cast<size_t>(kv.head_dim));
    const uint8_t* open = part == KvPart::keys ? kv.open_k : kv.open_v;
    uint8_t* sealed = part == KvPart::keys ? kv.k : kv.v;
    decode_rows(part, open + (kv.open_tile(block) * heads + head) * open_bytes, kv.block_tokens, kv.head_dim, 0, kv.block_tokens,
                rows.data());
    if (const KeyRotation* r = key_rotation(kv); r != nullptr && part == KvPart::keys)
      r->turn(KeyRotation::Way::back, ops, rows.data(), kv.head_dim, 0, kv.block_tokens);
    kv.format->block->encode(part, rows.data(), kv.block_tokens, kv.head_dim, sealed + (block * heads + head) * kv.tile_bytes());
  });
}

}  // namespace sluice
