// kivi2, kivi4: keys with a scale and a minimum per channel and 32 tokens, values with both per token and 32 channels, in 2
// or 4 bits, so 3 or 5 bits a value with them (24 or 40 bytes for 64 dims, from f16's 128; block_codes.h has the layout).
// Keys have channels of which all values are large and alike, which one scale per token spreads over all others.
// KIVI: Liu et al., ICML 2024. The newest tokens are kept in full until their block is full (the paper's residual R is
// --block-size, a multiple of 32). Other than in the paper, whose values have a sliding window and whose prompts are
// attended to before anything is quantized, values follow the keys' blocks and prompts read what later tokens read:
// so no chunk, batch or prefix hit changes a bit. Approximate.

#include <cstring>

#include "quant/kv/block_codes.h"
#include "quant/kv/kv_format.h"

namespace sluice {
namespace {

#include "quant/kv/block_codes.inc"

template <int kBits>
size_t tile_bytes(int block_tokens, int head_dim) {
  return static_cast<size_t>(code_bytes(kBits, kKiviGroups, block_tokens, head_dim));
}

template <int kBits>
void encode(KvPart part, const float* x, int block_tokens, int head_dim, uint8_t* tile) {
  std::memset(tile, 0, tile_bytes<kBits>(block_tokens, head_dim));
  block_codes::encode<kBits>(part, kKiviGroups.tokens, kKiviGroups.channels, x, block_tokens, head_dim, tile);
}

template <int kBits>
constexpr KvBlockCodec kCodec = {kKiviGroups.tokens, tile_bytes<kBits>, encode<kBits>, decode_kivi<kBits>};

}  // namespace

const KvFormat kKvKivi2 = {.type = KvType::kivi2, .name = "kivi2", .elem_bits = 2, .block = &kCodec<2>};
const KvFormat kKvKivi4 = {.type = KvType::kivi4, .name = "kivi4", .elem_bits = 4, .block = &kCodec<4>};

}  // namespace sluice
