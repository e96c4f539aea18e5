// gear4: a tile X of one KV head is D + L + S. S: of each vector (a key channel over the block's tokens, a value token's
// channels) the largest and smallest 1 % (at least one of each) as float16 with their places. D: 4-bit codes of X less S, a
// scale and a minimum per vector (block_codes.h). L: what D leaves of X less S, as a product of rank 2 found by power
// iteration from a fixed start. GEAR: Kang et al., 2024. The newest tokens are kept in full until their block is full (the
// paper's buffer n_b is --block-size, a multiple of 64). Other than in the paper the rank is that of generated tokens for all,
// and factors are multiplied out as a tile is unpacked, once for all rows that read it, instead of (q A) B^T.
// For 64 dims 6.25 bits a value in blocks of 64 tokens, 5.9 in blocks of 128. Approximate.

#include "quant/kv/gear.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <utility>
#include <vector>

#include "quant/kv/block_codes.h"
#include "quant/kv/kv_format.h"

namespace sluice {
namespace {

#include "quant/kv/block_codes.inc"
#include "quant/kv/gear_decode.inc"

constexpr int kGroupTokens = 64, kPowerIterations = 4;

size_t tile_bytes(int block_tokens, int head_dim) {
  const int64_t keys = int64_t{head_dim} * 8 * gear_ends(block_tokens), values = int64_t{block_tokens} * 8 * gear_ends(head_dim);
  return static_cast<size_t>(gear_outliers_at(block_tokens, head_dim) + std::max(keys, values));
}

void put_half(uint8_t* at, float x) {
  const uint16_t bits = f32_to_f16(x);
  std::memcpy(at, &bits, 2);
}

/// Takes the ends of every vector out of x into the tile's lists, and leaves the largest or smallest of the rest in their place.
/// Returns where they were.
std::vector<uint8_t> take_outliers(KvPart part, std::vector<float>& x, int block_tokens, int head_dim, uint8_t* list) {
  const bool keys = part == KvPart::keys;
  const int vectors = keys ? head_dim : block_tokens, length = keys ? block_tokens : head_dim, ends = gear_ends(length);
  std::vector<uint8_t> taken(x.size(), 0);
  std::vector<int> order(static_cast<size_t>(length));
  if (length <= 2 * ends) return taken;  // nothing would be left
  for (int v = 0; v < vectors; ++v) {
    const auto at = [&](int i) { return static_cast<size_t>(keys ? i * head_dim + v : v * head_dim + i); };
    std::iota(order.begin(), order.end(), 0);
    std::ranges::stable_sort(order, {}, [&](int i) { return x[at(i)]; });
    const float low = x[at(order[static_cast<size_t>(ends)])], high = x[at(order[static_cast<size_t>(length - ends - 1)])];
    for (int e = 0; e < 2 * ends; ++e, list += 4) {
      const int i = order[static_cast<size_t>(e < ends ? e : length - 1 - (e - ends))];
      const auto place = static_cast<uint16_t>(i);
      std::memcpy(list, &place, 2);
      put_half(list + 2, x[at(i)]);
      x[at(i)] = e < ends ? low : high;
      taken[at(i)] = 1;
    }
  }
  return taken;
}

/// Factors of r [tokens][head_dim], of which it leaves what they do not hold: each column of a has the direction of (r r^T)^n
/// times a fixed vector, and b = r^T a, so that no column makes what is left larger.
void factor(std::vector<double> r, int tokens, int head_dim, std::vector<double>& a, std::vector<double>& b) {
  const auto dim = static_cast<size_t>(head_dim), rows = static_cast<size_t>(tokens);
  a.assign(kGearRank * rows, 0);
  b.assign(kGearRank * dim, 0);
  for (size_t k = 0; k < kGearRank; ++k) {
    double* const left = a.data() + k * rows;
    double* const right = b.data() + k * dim;
    for (size_t d = 0; d < dim; ++d) right[d] = (d * 2654435761u >> (7 + k)) % 2 == 0 ? 1 : -1;
    for (int i = 0; i < kPowerIterations; ++i) {
      for (size_t t = 0; t < rows; ++t) left[t] = std::inner_product(right, right + dim, r.begin() + static_cast<int64_t>(t * dim), 0.0);
      const double norm = std::sqrt(std::inner_product(left, left + rows, left, 0.0));
      for (size_t t = 0; t < rows; ++t) left[t] = norm > 0 ? left[t] / norm : 0;
      std::fill_n(right, dim, 0.0);
      for (size_t t = 0; t < rows; ++t)
        for (size_t d = 0; d < dim; ++d) right[d] += left[t] * r[t * dim + d];
    }
    for (size_t t = 0; t < rows; ++t)
      for (size_t d = 0; d < dim; ++d) r[t * dim + d] -= left[t] * right[d];
  }
}

void encode(KvPart part, const float* x, int block_tokens, int head_dim, uint8_t* tile) {
  encode_gear(part, x, block_tokens, head_dim, tile, {});
}

constexpr KvBlockCodec kCodec = {kGroupTokens, tile_bytes, encode, decode_gear};

}  // namespace

void encode_gear(KvPart part, const float* x, int block_tokens, int head_dim, uint8_t* tile, GearParts parts) {
  const size_t size = tile_bytes(block_tokens, head_dim);
  const auto outliers_at = static_cast<size_t>(gear_outliers_at(block_tokens, head_dim));
  std::memset(tile, 0, outliers_at);
  std::memset(tile + outliers_at, 0xff, size - outliers_at);  // none
  const CodeGroups groups = gear_groups(block_tokens, head_dim);
  std::vector<float> kept(x, x + static_cast<size_t>(block_tokens) * static_cast<size_t>(head_dim));
  const bool finite = std::ranges::all_of(kept, [](float v) { return std::isfinite(v); });  // else it shows in a scale
  std::vector<uint8_t> taken(kept.size(), 0);
  if (parts.sparse && finite) taken = take_outliers(part, kept, block_tokens, head_dim, tile + outliers_at);
  block_codes::encode<kGearBits>(part, groups.tokens, groups.channels, kept.data(), block_tokens, head_dim, tile);
  if (!parts.low_rank || !finite) return;
  std::vector<float> codes(kept.size());
  decode_codes<kGearBits>(part, groups, tile, block_tokens, head_dim, 0, block_tokens, codes.data());
  std::vector<double> left(kept.size()), a, b;
  for (size_t i = 0; i < left.size(); ++i) left[i] = taken[i] != 0 ? 0 : static_cast<double>(kept[i]) - static_cast<double>(codes[i]);
  factor(std::move(left), block_tokens, head_dim, a, b);
  uint8_t* const a_at = tile + gear_factors_at(block_tokens, head_dim);
  uint8_t* const b_at = a_at + 2 * kGearRank * block_tokens;
  for (int r = 0; r < kGearRank; ++r) {
    for (int t = 0; t < block_tokens; ++t) put_half(a_at + 2 * (t * kGearRank + r), static_cast<float>(a[static_cast<size_t>(r * block_tokens + t)]));
    for (int d = 0; d < head_dim; ++d) put_half(b_at + 2 * (r * head_dim + d), static_cast<float>(b[static_cast<size_t>(r * head_dim + d)]));
  }
}

const KvFormat kKvGear4 = {.type = KvType::gear4, .name = "gear4", .elem_bits = kGearBits, .block = &kCodec};

}  // namespace sluice
