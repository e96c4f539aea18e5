#include "quant/kv/minicache.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/rng.h"
#include "tensor/dtype.h"

namespace sluice {
namespace {

constexpr KvPart kBothParts[] = {KvPart::keys, KvPart::values};

/// Rows of two layers whose directions are alike: normal, plus `apart` times as much of their own.
struct Layers {
  int tokens, dim;
  std::vector<float> x[2];
  Layers(Rng& rng, int n, int d, double apart) : tokens(n), dim(d) {
    for (int i = 0; i < n * d; ++i) {
      const double shared = rng.next_normal();
      for (auto& layer : x) layer.push_back(static_cast<float>(shared + apart * rng.next_normal()));
    }
    for (float& v : x[1]) v *= 3;  // norms are each layer's own
  }
  const float* row(int side, int t) const { return x[side].data() + t * dim; }
};

struct Encoded {
  const Layers& from;
  KvPart part;
  int retained;
  std::vector<uint8_t> bytes[2];
  const uint8_t* tiles[2];
  Encoded(const Layers& l, KvPart p, int r) : from(l), part(p), retained(r) {
    for (auto& b : bytes) b.assign(minicache_tile_bytes(l.tokens, l.dim, r) + 1, 0xa5);  // at an odd address
    const float* const x[] = {l.x[0].data(), l.x[1].data()};
    uint8_t* const to[] = {bytes[0].data() + 1, bytes[1].data() + 1};
    encode_minicache(p, x, l.tokens, l.dim, r, to);
    tiles[0] = to[0], tiles[1] = to[1];
  }
  std::vector<float> decoded(int side, int first, int count) const {
    std::vector<float> y(static_cast<size_t>(count * from.dim), NAN);
    decode_minicache(part, side, tiles, from.tokens, from.dim, retained, first, count, kKvKivi4.block->decode, y.data());
    return y;
  }
  std::vector<float> decoded(int side) const { return decoded(side, 0, from.tokens); }
  /// Share of the energy of both layers that is lost.
  double loss() const {
    double lost = 0, all = 0;
    for (const int side : {0, 1}) {
      const std::vector<float> y = decoded(side);
      for (size_t i = 0; i < y.size(); ++i)
        lost += std::pow(static_cast<double>(y[i] - from.x[side][i]), 2), all += std::pow(static_cast<double>(from.x[side][i]), 2);
    }
    return lost / all;
  }
};

TEST(MiniCache, AllRetainedIsFloat16) {
  Rng rng(1);
  for (const int dim : {1, 8, 40, 64}) {
    const Layers layers(rng, 64, dim, 1);
    for (const KvPart part : kBothParts)
      for (const int side : {0, 1}) {
        std::vector<float> want = layers.x[side];
        for (float& v : want) v = f16_to_f32(f32_to_f16(v));
        EXPECT_EQ(Encoded(layers, part, 64).decoded(side), want) << "dim " << dim;
      }
  }
}

TEST(MiniCache, AnyTokensDecodeAlike) {
  Rng rng(2);
  for (const int dim : {1, 3, 20, 64, 96})
    for (const int tokens : {64, 128, 256}) {
      const Layers layers(rng, tokens, dim, 0.3);
      for (const KvPart part : kBothParts)
        for (const int side : {0, 1}) {
          const Encoded tiles(layers, part, minicache_retained(tokens));
          std::vector<float> pieces;
          for (int t = 0; t < tokens;) {
            const int n = static_cast<int>(rng.between(1, std::min(50, tokens - t)));
            const std::vector<float> piece = tiles.decoded(side, t, n);
            pieces.insert(pieces.end(), piece.begin(), piece.end());
            t += n;
          }
          EXPECT_EQ(pieces, tiles.decoded(side)) << "dim " << dim;
        }
    }
}

// Layers with the same directions lose what 4 bits lose; the further they are apart, the more; and retained tokens save some of it.
TEST(MiniCache, LosesWhatDirectionsDiffer) {
  Rng rng(3);
  double before = 0;
  for (const double apart : {0.0, 0.1, 0.3, 1.0}) {
    const Layers layers(rng, 128, 64, apart);
    const double none = Encoded(layers, KvPart::keys, 0).loss(), some = Encoded(layers, KvPart::keys, 7).loss(), half = Encoded(layers, KvPart::keys, 64).loss();
    EXPECT_GT(none, before) << apart;
    EXPECT_LT(some, none) << apart;
    EXPECT_LT(half, some) << apart;
    if (apart == 0) {
      EXPECT_LT(none, 0.01);
    }
    before = none;
  }
}

// The direction lies on the arc between both, at 0.6 of the angle.
TEST(MiniCache, TheDirectionIsTowardsTheUpperLayer) {
  Layers layers = [] { Rng rng(0); return Layers(rng, 64, 2, 0); }();
  for (size_t t = 0; t < 64; ++t) layers.x[0][2 * t] = 2, layers.x[0][2 * t + 1] = 0, layers.x[1][2 * t] = 0, layers.x[1][2 * t + 1] = 5;
  const Encoded tiles(layers, KvPart::keys, 0);
  const double angle = 0.6 * std::acos(0.0);
  for (const int side : {0, 1}) {
    const std::vector<float> y = tiles.decoded(side);
    const double length = side == 0 ? 2 : 5;
    for (size_t t = 0; t < 64; ++t) {
      EXPECT_NEAR(y[2 * t], length * std::cos(angle), 2e-3 * length);
      EXPECT_NEAR(y[2 * t + 1], length * std::sin(angle), 2e-3 * length);
    }
  }
}

TEST(MiniCache, TheFurthestApartAreRetained) {
  Rng rng(4);
  Layers layers(rng, 64, 32, 0.1);
  for (const int t : {3, 31, 32, 63})
    for (int d = 0; d < 32; ++d) layers.x[1][static_cast<size_t>(t * 32 + d)] *= -1;
  const Encoded tiles(layers, KvPart::values, minicache_retained(64));
  for (const int side : {0, 1})
    for (const int t : {3, 31, 32, 63}) {
      const std::vector<float> y = tiles.decoded(side, t, 1);
      for (int d = 0; d < 32; ++d) EXPECT_EQ(y[static_cast<size_t>(d)], f16_to_f32(f32_to_f16(layers.row(side, t)[d]))) << t;
    }
}

TEST(MiniCache, ZerosStayAndWhatIsNotFiniteShows) {
  Rng rng(5);
  for (const KvPart part : kBothParts)
    for (const int broken : {0, 1}) {
      Layers layers(rng, 64, 40, 0.2);
      std::fill_n(layers.x[broken].begin() + 40 * 7, 40, 0.0f);  // one layer's only: the other's direction is used
      for (const float v : Encoded(layers, part, 4).decoded(broken, 7, 1)) EXPECT_EQ(v, 0);
      for (const float bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()})
        for (const int retained : {0, 4}) {
          Layers damaged = layers;
          damaged.x[broken][333] = bad;
          EXPECT_TRUE(std::ranges::any_of(Encoded(damaged, part, retained).decoded(broken), [](float v) { return !std::isfinite(v); }));
        }
    }
  const Layers zeros = [] { Rng r(0); Layers l(r, 64, 8, 0); for (auto& x : l.x) std::ranges::fill(x, 0.0f); return l; }();
  for (const int side : {0, 1})
    for (const float v : Encoded(zeros, KvPart::keys, 4).decoded(side)) EXPECT_EQ(v, 0);
}

// kivi4's 40 bytes a direction, of which a layer has half; a norm; 4 of 64 tokens, or 13 of 256, as float16 with their place.
TEST(MiniCache, BytesAreTheFormula) {
  EXPECT_EQ(kKvMiniCache.tile_bytes(64, 64), 32u * 40 + 64 * 2 + 4 * (2 + 128));
  EXPECT_EQ(kKvMiniCache.tile_bytes(256, 128), 128u * 80 + 256 * 2 + 13 * (2 + 256));
  EXPECT_EQ(kKvMiniCache.group_tokens(), 64);
  EXPECT_TRUE(kKvMiniCache.pairs());
  EXPECT_FALSE(kKvKivi4.pairs());
  // From f16: 4.25 and 4.65 times less.
  EXPECT_NEAR(static_cast<double>(kKvF16.tile_bytes(64, 64)) / static_cast<double>(kKvMiniCache.tile_bytes(64, 64)), 4.25, 0.01);
  EXPECT_NEAR(static_cast<double>(kKvF16.tile_bytes(256, 128)) / static_cast<double>(kKvMiniCache.tile_bytes(256, 128)), 4.65, 0.05);
}

}  // namespace
}  // namespace sluice
