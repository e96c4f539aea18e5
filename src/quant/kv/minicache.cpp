// minicache: the keys, and the values, of two adjacent layers share a direction per token and KV head, x_l = |x_l| e, with
// e = (sin((1 - t) W) x'_lower + sin(t W) x'_upper) / sin W between the two of their own (SLERP, t = 0.6; W the angle), and the
// tokens whose directions are furthest apart are kept as they are. MiniCache: Liu et al., NeurIPS 2024. Directions are in kivi4;
// a tile: [kivi4 tile of half the block's directions: the lower layer's tile has the first half, the upper one's the second]
// [norms, float16, by token] [retained: place uint16, row float16]. Other than in the paper, the retained tokens are a fixed
// number, 5 % of each block and head, rather than those within 5 % of the observed range of angles, so that tiles have one
// size; and the newest tokens are in full until their block is full. For 64 dims 3.8 bits a value in blocks of 64 tokens. Approximate.

#include "quant/kv/minicache.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <vector>

#include "tensor/dtype.h"

namespace sluice {
namespace {

constexpr double kTowardsUpper = 0.6;
constexpr int kGroupTokens = 64;  // half of which is a group of kivi4's

size_t codes_bytes(int block_tokens, int head_dim) { return kKvKivi4.tile_bytes(block_tokens / 2, head_dim); }
size_t entry_bytes(int head_dim) { return 2 + 2 * static_cast<size_t>(head_dim); }

void put_half(uint8_t* at, float x) {
  const uint16_t bits = f32_to_f16(x);
  std::memcpy(at, &bits, 2);
}
float half_at(const uint8_t* at) {
  uint16_t bits;
  std::memcpy(&bits, at, 2);
  return f16_to_f32(bits);
}

double dot(const float* a, const float* b, int n) {
  double sum = 0;
  for (int d = 0; d < n; ++d) sum += static_cast<double>(a[d]) * static_cast<double>(b[d]);
  return sum;
}
double norm(const float* x, int n) { return std::sqrt(dot(x, x, n)); }

/// The shared direction of two vectors, of length 1 unless both are 0. Returns the angle between theirs: infinite where one is
/// not finite, so that it is retained and shows.
double share(const float* lower, const float* upper, int n, float* e) {
  const double a = norm(lower, n), b = norm(upper, n), cosine = cosine_of(lower, upper, n);
  double towards_lower = 1 - kTowardsUpper, towards_upper = kTowardsUpper;
  const double angle = std::acos(std::clamp(cosine, -1.0, 1.0)), sine = std::sin(angle);
  if (a == 0 || b == 0) {
    towards_lower = towards_upper = 1;
  } else if (sine > 1e-6) {
    towards_lower = std::sin((1 - kTowardsUpper) * angle) / sine;
    towards_upper = std::sin(kTowardsUpper * angle) / sine;
  } else if (cosine < 0) {  // opposite: there is no way between them
    towards_lower = 0, towards_upper = 1;
  }
  for (int d = 0; d < n; ++d)
    e[d] = static_cast<float>((a > 0 ? towards_lower * static_cast<double>(lower[d]) / a : 0) + (b > 0 ? towards_upper * static_cast<double>(upper[d]) / b : 0));
  if (std::isfinite(a) && std::isfinite(b)) return angle;
  std::fill_n(e, n, std::numeric_limits<float>::quiet_NaN());
  return std::numeric_limits<double>::infinity();
}

size_t tile_bytes(int block_tokens, int head_dim) { return minicache_tile_bytes(block_tokens, head_dim, minicache_retained(block_tokens)); }
void encode(KvPart part, const float* const* x, int block_tokens, int head_dim, uint8_t* const* tiles) {
  encode_minicache(part, x, block_tokens, head_dim, minicache_retained(block_tokens), tiles);
}
void decode(KvPart part, int side, const uint8_t* const* tiles, int block_tokens, int head_dim, int first, int count, KvTileDecode* directions, float* x) {
  decode_minicache(part, side, tiles, block_tokens, head_dim, minicache_retained(block_tokens), first, count, directions, x);
}

constexpr KvPairCodec kPair = {&kKvKivi4, encode, decode};
constexpr KvBlockCodec kCodec = {kGroupTokens, tile_bytes, nullptr, nullptr, &kPair};

}  // namespace

double cosine_of(const float* a, const float* b, int n) {
  const double norms = norm(a, n) * norm(b, n);
  return norms > 0 ? dot(a, b, n) / norms : 1;
}

size_t minicache_tile_bytes(int block_tokens, int head_dim, int retained) {
  return codes_bytes(block_tokens, head_dim) + 2 * static_cast<size_t>(block_tokens) + static_cast<size_t>(retained) * entry_bytes(head_dim);
}

void encode_minicache(KvPart part, const float* const* x, int block_tokens, int head_dim, int retained, uint8_t* const* tiles) {
  const auto tokens = static_cast<size_t>(block_tokens), dim = static_cast<size_t>(head_dim);
  std::vector<float> directions(tokens * dim);
  std::vector<double> angles(tokens);
  for (size_t t = 0; t < tokens; ++t) angles[t] = share(x[0] + t * dim, x[1] + t * dim, head_dim, directions.data() + t * dim);
  std::vector<size_t> order(tokens);
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, std::ranges::greater(), [&](size_t t) { return angles[t]; });
  for (size_t side = 0; side < 2; ++side) {
    uint8_t* at = tiles[side];
    kKvKivi4.block->encode(part, directions.data() + side * (tokens / 2) * dim, block_tokens / 2, head_dim, at);
    at += codes_bytes(block_tokens, head_dim);
    for (size_t t = 0; t < tokens; ++t, at += 2) put_half(at, static_cast<float>(norm(x[side] + t * dim, head_dim)));
    for (size_t i = 0; i < static_cast<size_t>(retained); ++i, at += entry_bytes(head_dim)) {
      const auto place = static_cast<uint16_t>(order[i]);
      std::memcpy(at, &place, 2);
      for (size_t d = 0; d < dim; ++d) put_half(at + 2 + 2 * d, x[side][order[i] * dim + d]);
    }
  }
}

void decode_minicache(KvPart part, int side, const uint8_t* const* tiles, int block_tokens, int head_dim, int retained, int first, int count,
                      KvTileDecode* directions, float* x) {
  const int half = block_tokens / 2, end = first + count;
  const auto dim = static_cast<size_t>(head_dim);
  const auto row = [&](int t) { return x + static_cast<size_t>(t - first) * dim; };
  if (first < half) directions(part, tiles[0], half, head_dim, first, std::min(end, half) - first, x);
  if (const int from = std::max(first, half); from < end) directions(part, tiles[1], half, head_dim, from - half, end - from, row(from));
  const uint8_t* at = tiles[side] + codes_bytes(block_tokens, head_dim);
  for (int t = first; t < end; ++t) {
    const float length = half_at(at + 2 * t);
    for (size_t d = 0; d < dim; ++d) row(t)[d] *= length;
  }
  at += 2 * static_cast<size_t>(block_tokens);
  for (int i = 0; i < retained; ++i, at += entry_bytes(head_dim)) {
    uint16_t place;
    std::memcpy(&place, at, 2);
    if (place < first || place >= end) continue;
    for (size_t d = 0; d < dim; ++d) row(place)[d] = half_at(at + 2 + 2 * d);
  }
}

const KvFormat kKvMiniCache = {.type = KvType::minicache, .name = "minicache", .elem_bits = 4, .block = &kCodec};

}  // namespace sluice
