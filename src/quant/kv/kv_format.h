#pragma once
// Codecs of the KV cache: one file each, listed in catalog.cpp. A format's unit is the tile, which is what one KV head
// has in one block, of keys or of values:
//
//   rows  [block_tokens][row_bytes]    a token's values, head_dim of them
//   side  [block_tokens][side_bytes]   what decoding a row takes besides, such as its scale
//
// What a token's row decodes to depends on that token alone, so that chunks, prefix hits and preemption change no bit
// (docs/adr/0006). The functions here state the arithmetic; tables of kernels may have faster ones, which give the same
// bits (backend/row_ops.h).

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "quant/kv/kv_type.h"

namespace sluice {

struct KvFormat {
  KvType type;
  std::string_view name;  // as --kv-cache-dtype spells it
  int elem_bits;
  int side_bytes;  // of one token's row
  /// x[head_dim] into a row and its side. A value that is not finite makes the row decode to values of which some are
  /// not finite, so that damage shows.
  void (*encode)(const float* x, int head_dim, uint8_t* row, uint8_t* side);
  /// The same back: the values are x[head_dim] times the factor that is returned, which is 1 but for formats with one
  /// scale per row: attention multiplies by it after its sums (backend/row_ops.h). Neither pointer needs alignment.
  float (*decode)(const uint8_t* row, const uint8_t* side, int head_dim, float* x);

  size_t row_bytes(int head_dim) const { return (static_cast<size_t>(head_dim) * elem_bits + 7) / 8; }
  /// Where the side stream begins.
  size_t side_offset(int block_tokens, int head_dim) const { return block_tokens * row_bytes(head_dim); }
  size_t tile_bytes(int block_tokens, int head_dim) const { return block_tokens * (row_bytes(head_dim) + side_bytes); }
};

extern const KvFormat kKvF32, kKvF16, kKvBF16, kKvInt8, kKvFp8, kKvInt4;

/// Every format, in the order of KvType.
std::span<const KvFormat* const> kv_formats();
inline const KvFormat& kv_format(KvType type) { return *kv_formats()[static_cast<size_t>(type)]; }

}  // namespace sluice
