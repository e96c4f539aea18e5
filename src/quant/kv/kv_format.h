#pragma once
// Codecs of the KV cache: one file each, listed in catalog.cpp. A format's unit is the tile, which is what one KV head
// has in one block, of keys or of values; of small blocks, in a cluster of them (kv/block_pool.h). There are two kinds.
//
// A row format encodes each token as it comes:
//
//   rows  [tile's tokens][row_bytes]   a token's values, head_dim of them
//   side  [tile's tokens][side_bytes]  what decoding a row takes besides, such as its scale
//
// What a token's row decodes to depends on that token alone, so that chunks, prefix hits and preemption change no bit
// (docs/adr/0006).
//
// A block format (KvFormat::block) encodes a tile as a whole, once its block is full, and seals it. Until then the block
// is open, and its rows stand in full, as kKvF16, beside the pool. A row at p reads every block before its own sealed and its
// own open, so that what it reads for token t depends on (p, t) and the block size alone (docs/adr/0012).
//
// The functions here state the arithmetic; tables of kernels may have faster ones, which give the same bits
// (backend/row_ops.h).

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "quant/kv/kv_type.h"

namespace sluice {

struct KvFormat;

/// What unpacks a tile of a block format: tokens [first, first + count) to x[count][head_dim].
using KvTileDecode = void(KvPart part, const uint8_t* tile, int block_tokens, int head_dim, int first, int count, float* x);

/// The tiles of one KV head in two adjacent layers, [0] the lower one's, that are encoded together: each holds bytes that both need.
struct KvPairCodec {
  const KvFormat* directions;  // a block format, of which tables may have a faster decoder
  /// x[2][block_tokens][head_dim] into two tiles.
  void (*encode)(KvPart part, const float* const* x, int block_tokens, int head_dim, uint8_t* const* tiles);
  /// Of the layer `side`, 0 or 1; `directions` is that format's decoder, or one with the same bits.
  void (*decode)(KvPart part, int side, const uint8_t* const* tiles, int block_tokens, int head_dim, int first, int count, KvTileDecode* directions, float* x);
};

/// A tile that is encoded at once. Pointers need no alignment.
struct KvBlockCodec {
  int group_tokens;  // block_tokens is a multiple of it
  /// The same for keys and values.
  size_t (*tile_bytes)(int block_tokens, int head_dim);
  /// x[block_tokens][head_dim] into a tile. A value that is not finite makes some of those that decode not finite.
  void (*encode)(KvPart part, const float* x, int block_tokens, int head_dim, uint8_t* tile);
  KvTileDecode* decode;
  const KvPairCodec* pair = nullptr;  // of formats of two layers, in place of both
  /// Keys come and go turned back by the rotation from the block's first position to theirs (KeyRotation), if they are rotated.
  bool unrotated_keys = false;
};

struct KvFormat {
  KvType type;
  std::string_view name;  // as --kv-cache-dtype spells it
  int elem_bits;
  // Of row formats:
  int side_bytes = 0;  // of one token's row
  /// x[head_dim] into a row and its side. A value that is not finite makes the row decode to values of which some are
  /// not finite, so that damage shows.
  void (*encode)(const float* x, int head_dim, uint8_t* row, uint8_t* side) = nullptr;
  /// The same back: the values are x[head_dim] times the factor that is returned, which is 1 but for formats with one
  /// scale per row: attention multiplies by it after its sums (backend/row_ops.h). Neither pointer needs alignment.
  float (*decode)(const uint8_t* row, const uint8_t* side, int head_dim, float* x) = nullptr;
  const KvBlockCodec* block = nullptr;  // of block formats

  size_t row_bytes(int head_dim) const { return (static_cast<size_t>(head_dim) * elem_bits + 7) / 8; }
  /// Where the side stream of a row format begins.
  size_t side_offset(int block_tokens, int head_dim) const { return block_tokens * row_bytes(head_dim); }
  size_t tile_bytes(int block_tokens, int head_dim) const {
    return block != nullptr ? block->tile_bytes(block_tokens, head_dim) : block_tokens * (row_bytes(head_dim) + side_bytes);
  }
  /// Whether two adjacent layers share their tiles.
  bool pairs() const { return block != nullptr && block->pair != nullptr; }
  /// Tokens that a block must hold a multiple of.
  int group_tokens() const { return block != nullptr ? block->group_tokens : 1; }
  /// The smallest block of at least `tokens` that this format takes.
  int fitting_block(int tokens) const { return (tokens + group_tokens() - 1) / group_tokens() * group_tokens(); }
};

extern const KvFormat kKvF32, kKvF16, kKvBF16, kKvInt8, kKvFp8, kKvInt4, kKvKivi2, kKvKivi4, kKvGear4, kKvQuant3;

/// Of two layers: KvFormats says which.
extern const KvFormat kKvMiniCache;

/// Every format that a layer can have by itself, in the order of KvType.
std::span<const KvFormat* const> kv_formats();
/// Those that encode token by token.
inline std::span<const KvFormat* const> kv_row_formats() { return kv_formats().first(kNumRowKvTypes); }
inline const KvFormat& kv_format(KvType type) { return *kv_formats()[static_cast<size_t>(type)]; }

}  // namespace sluice
