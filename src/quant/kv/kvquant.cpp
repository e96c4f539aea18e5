// kvquant3: 3-bit codes that stand for 8 centroids, unevenly spaced (nuq), of what is left of a vector without its outliers,
// brought to [-1, 1]. A vector is a key channel over the block's tokens, of keys before their rotation, or a value token's
// channels. The 1 % of a vector that widen its range most (at least one) stay in float16 beside their places, as the first
// token does, on which attention sinks. KVQuant: Hooper et al., NeurIPS 2024. Approximate. What the paper does otherwise:
//
// - Rotation mixes two channels by an angle that grows with the position, so that a channel's values no longer lie close
//   together. The paper encodes keys as projected. Here they are turned back to the first position of their block, and
//   forth as it is unpacked (backend/key_rotation.h): one angle for all that share a range, so these are as narrow, and
//   what is stored does not depend on where the block is.
// - Ranges of keys are calibrated offline there; here they are the block's own (a multiple of 64 tokens), so no file is needed.
// - The centroids are one table for keys and one for values, not one a layer, and weighted by the square of a vector's radius,
//   which is what a code's error costs in the keys or values; the paper weights by Fisher information, which takes gradients and,
//   on that model, would lose 0.9 % less of the keys and 0.01 % less of the values (bench/kvquant_fisher.py).
//   tests/fidelity/kvquant_test.cpp trains them, on one small model.
// - Outliers are a fixed number per vector with fixed places in the tile, not CSR: sealing a block writes its own and moves none.
// - Tiles have one size and do not know where they are, so the first token of every block stays in float16, not of the first only.
// - Vectors are within a KV head, where the paper's values share a range over all heads of a token.
//
// For 64 dims 4.25 bits a value in blocks of 64 tokens, 4.13 in blocks of 128.

#include "quant/kv/kvquant.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "quant/kv/kv_format.h"
#include "tensor/dtype.h"

namespace sluice {
namespace {

#include "quant/kv/block_codes.inc"
#include "quant/kv/kvquant_decode.inc"

constexpr int kGroupTokens = 64;

size_t tile_bytes(int block_tokens, int head_dim) {
  const auto end = [&](bool keys) {
    return nuq_outliers_at(keys, block_tokens, head_dim) + int64_t{4} * (keys ? head_dim * nuq_outliers(block_tokens) : block_tokens * nuq_outliers(head_dim));
  };
  return static_cast<size_t>(std::max(end(true), end(false)));
}

void put_half(uint8_t* at, float x) {
  const uint16_t bits = f32_to_f16(x);
  std::memcpy(at, &bits, 2);
}

int nearest(std::span<const float, 8> centroids, float x) {
  int best = 0;
  for (int i = 1; i < 8; ++i)
    if (std::fabs(x - centroids[static_cast<size_t>(i)]) < std::fabs(x - centroids[static_cast<size_t>(best)])) best = i;
  return best;
}

void encode(KvPart part, const float* x, int block_tokens, int head_dim, uint8_t* tile) {
  const bool keys = part == KvPart::keys;
  const size_t size = tile_bytes(block_tokens, head_dim);
  const auto lists_at = static_cast<size_t>(nuq_outliers_at(keys, block_tokens, head_dim));
  std::memset(tile, 0, lists_at);
  std::memset(tile + lists_at, 0xff, size - lists_at);  // none
  for (int d = 0; d < head_dim; ++d) put_half(tile + nuq_first_at(block_tokens, head_dim) + 2 * d, x[d]);
  uint8_t* const ranges = tile + nuq_ranges_at(block_tokens, head_dim);
  const int vectors = keys ? head_dim : block_tokens, length = keys ? block_tokens : head_dim, entries = nuq_outliers(length);
  const int skip = keys ? 1 : 0;  // the first token is in full
  for (int v = 1 - skip; v < vectors; ++v) {
    const int64_t stride = keys ? head_dim : 1;
    const float* const from = keys ? x + v : x + int64_t{v} * head_dim;
    const KvQuantVector vector(from + skip * stride, length - skip, stride);
    std::memcpy(ranges + 2 * v, &vector.centre_bits, 2);
    std::memcpy(ranges + 2 * (vectors + v), &vector.radius_bits, 2);
    uint8_t* list = tile + lists_at + int64_t{v} * 4 * entries;
    for (const int i : vector.outliers) {
      const auto place = static_cast<uint16_t>(i + skip);
      std::memcpy(list, &place, 2);
      put_half(list + 2, from[place * stride]);
      list += 4;
    }
    if (!(vector.radius > 0)) continue;
    for (int i = skip; i < length; ++i) {
      const int t = keys ? i : v, d = keys ? v : i, code = nearest(kvquant_centroids(keys), (from[i * stride] - vector.centre) / vector.radius);
      uint8_t* const at = tile + int64_t{t} * nuq_row_bytes(head_dim) + d / 8 * kNuqBits;
      const int shift = d % 8 * kNuqBits;
      at[shift / 8] |= static_cast<uint8_t>(code << shift % 8);
      if (shift % 8 > 8 - kNuqBits) at[shift / 8 + 1] |= static_cast<uint8_t>(code >> (8 - shift % 8));
    }
  }
}

constexpr KvBlockCodec kCodec = {kGroupTokens, tile_bytes, encode, decode_kvquant, nullptr, true};

}  // namespace

KvQuantVector::KvQuantVector(const float* x, int n, int64_t stride) {
  std::vector<int> order(static_cast<size_t>(n));
  bool finite = true;
  for (int i = 0; i < n; ++i) order[static_cast<size_t>(i)] = i, finite &= std::isfinite(x[i * stride]);
  const auto at = [&](int i) { return x[order[static_cast<size_t>(i)] * stride]; };
  float low = std::numeric_limits<float>::quiet_NaN(), high = low;
  if (finite) {
    std::ranges::stable_sort(order, {}, [&](int i) { return x[i * stride]; });
    // Of the ways to take so many from both ends, that which leaves the narrowest.
    const int count = std::min(nuq_outliers(n), n - 1);
    int below = 0;
    for (int b = 1; b <= count; ++b)
      if (at(n - 1 - (count - b)) - at(b) < at(n - 1 - (count - below)) - at(below)) below = b;
    outliers.assign(order.begin(), order.begin() + below);
    outliers.insert(outliers.end(), order.end() - (count - below), order.end());
    low = at(below), high = at(n - 1 - (count - below));
  }
  centre_bits = f32_to_f16(low + (high - low) / 2);
  centre = f16_to_f32(centre_bits);
  radius_bits = f32_to_f16(finite ? std::max(high - centre, centre - low) : high);
  radius = f16_to_f32(radius_bits);
}

std::span<const float, 8> kvquant_centroids(bool keys) { return kNuqCentroids[keys ? 0 : 1]; }

const KvFormat kKvQuant3 = {.type = KvType::kvquant3, .name = "kvquant3", .elem_bits = kNuqBits, .block = &kCodec};

}  // namespace sluice
