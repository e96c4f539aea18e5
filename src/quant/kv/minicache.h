#pragma once
// minicache with any number of retained tokens, for tests and the lab; the format has minicache_retained().

#include <cstddef>
#include <cstdint>

#include "quant/kv/kv_format.h"

namespace sluice {

/// Tokens of a block that are kept as they are: 5 % (gamma), rounded up.
constexpr int minicache_retained(int block_tokens) { return (5 * block_tokens + 99) / 100; }

/// Of one of the two tiles.
size_t minicache_tile_bytes(int block_tokens, int head_dim, int retained);
/// x[2][block_tokens][head_dim], of the lower layer and the upper, into their tiles.
void encode_minicache(KvPart part, const float* const* x, int block_tokens, int head_dim, int retained, uint8_t* const* tiles);
/// Tokens [first, first + count) of the layer `side` to x[count][head_dim].
void decode_minicache(KvPart part, int side, const uint8_t* const* tiles, int block_tokens, int head_dim, int retained, int first, int count,
                      KvTileDecode* directions, float* x);

/// The cosine of two vectors; of one without a direction 1, since it loses nothing by taking the other's.
double cosine_of(const float* a, const float* b, int n);

}  // namespace sluice
