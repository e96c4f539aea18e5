// Formats that encode whole blocks: sizes, errors, and that a tile gives the same values in any pieces.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "base/rng.h"
#include "quant/kv/gear.h"
#include "quant/kv/kv_format.h"
#include "tensor/dtype.h"

namespace sluice {
namespace {

std::vector<const KvFormat*> block_formats() {
  std::vector<const KvFormat*> found;
  for (const KvFormat* f : kv_formats())
    if (f->block != nullptr) found.push_back(f);
  return found;
}

class KvBlockFormats : public testing::TestWithParam<const KvFormat*> {};
INSTANTIATE_TEST_SUITE_P(Catalog, KvBlockFormats, testing::ValuesIn(block_formats()),
                         [](const auto& info) { return std::string(info.param->name); });

std::vector<float> normals(Rng& rng, int n) {
  std::vector<float> x(static_cast<size_t>(n));
  for (float& v : x) v = static_cast<float>(rng.next_normal());
  return x;
}

std::vector<float> round_trip(const KvFormat& f, KvPart part, const std::vector<float>& x, int tokens, int dim) {
  std::vector<uint8_t> tile(f.tile_bytes(tokens, dim), 0xa5);
  std::vector<float> y(x.size(), NAN);
  f.block->encode(part, x.data(), tokens, dim, tile.data());
  f.block->decode(part, tile.data(), tokens, dim, 0, tokens, y.data());
  return y;
}

double error_of(const std::vector<float>& x, const std::vector<float>& y) {
  double sum = 0;
  for (size_t i = 0; i < x.size(); ++i) sum += std::pow(static_cast<double>(x[i] - y[i]), 2);
  return std::sqrt(sum / static_cast<double>(x.size()));
}

constexpr KvPart kParts[] = {KvPart::keys, KvPart::values};

TEST_P(KvBlockFormats, StandsAtItsTypeBehindTheRowFormats) {
  const KvFormat& f = *GetParam();
  EXPECT_EQ(&kv_format(f.type), &f);
  EXPECT_GE(static_cast<int>(f.type), kNumRowKvTypes);
  EXPECT_EQ(f.fitting_block(1), f.group_tokens());
  EXPECT_EQ(f.fitting_block(f.group_tokens() + 1), 2 * f.group_tokens());
}

TEST_P(KvBlockFormats, AnyTokensOfATileDecodeAlike) {
  const KvFormat& f = *GetParam();
  Rng rng(3);
  for (const KvPart part : kParts)
    for (const int dim : {1, 3, 20, 64, 96, 128}) {
      const int tokens = f.group_tokens() * static_cast<int>(rng.between(1, 3));
      const std::vector<float> x = normals(rng, tokens * dim);
      std::vector<uint8_t> tile(f.tile_bytes(tokens, dim) + 1);  // at an odd address
      f.block->encode(part, x.data(), tokens, dim, tile.data() + 1);
      std::vector<float> whole(x.size()), pieces(x.size());
      f.block->decode(part, tile.data() + 1, tokens, dim, 0, tokens, whole.data());
      for (int t = 0; t < tokens;) {
        const int n = static_cast<int>(rng.between(1, tokens - t));
        f.block->decode(part, tile.data() + 1, tokens, dim, t, n, pieces.data() + t * dim);
        t += n;
      }
      EXPECT_EQ(whole, pieces) << "dim " << dim;
      EXPECT_LT(error_of(x, whole), 0.5);
    }
}

TEST_P(KvBlockFormats, KeepsZerosAndShowsWhatIsNotFinite) {
  const KvFormat& f = *GetParam();
  const int tokens = f.group_tokens(), dim = 40;
  for (const KvPart part : kParts) {
    for (const float v : round_trip(f, part, std::vector<float>(static_cast<size_t>(tokens * dim), 0.0f), tokens, dim)) EXPECT_EQ(v, 0);
    for (const float bad : {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
                            std::numeric_limits<float>::quiet_NaN()}) {
      std::vector<float> x(static_cast<size_t>(tokens * dim), 1.0f);
      x[333] = bad;
      EXPECT_TRUE(std::ranges::any_of(round_trip(f, part, x, tokens, dim), [](float v) { return !std::isfinite(v); }));
    }
  }
}

// Half a step of its group: 32 tokens of a channel, or 32 channels of a token; and what float16 rounds its ends by.
TEST(Kivi, ErrorIsHalfAStep) {
  Rng rng(7);
  const int tokens = 64, dim = 64;
  for (const KvFormat* f : {&kKvKivi2, &kKvKivi4})
    for (const KvPart part : kParts) {
      std::vector<float> x = normals(rng, tokens * dim);
      const std::vector<float> y = round_trip(*f, part, x, tokens, dim);
      const float levels = f == &kKvKivi2 ? 3 : 15;
      for (int t = 0; t < tokens; ++t)
        for (int d = 0; d < dim; ++d) {
          float low = INFINITY, high = -INFINITY;
          for (int i = 0; i < 32; ++i) {
            const float v = part == KvPart::keys ? x[static_cast<size_t>((t / 32 * 32 + i) * dim + d)] : x[static_cast<size_t>(t * dim + d / 32 * 32 + i)];
            low = std::min(low, v), high = std::max(high, v);
          }
          const auto at = static_cast<size_t>(t * dim + d);
          const float rounding = 0x1p-10f * (high - low + std::fabs(low));
          ASSERT_LE(std::fabs(x[at] - y[at]), (high - low) / levels / 2 + rounding) << f->name;
        }
    }
}

// bits + 32 / group: two float16 for each 32 values.
TEST(Kivi, BytesAreTheFormula) {
  for (const int dim : {32, 64, 128})
    for (const int tokens : {32, 128}) {
      const size_t values = static_cast<size_t>(tokens * dim);
      EXPECT_EQ(kKvKivi2.tile_bytes(tokens, dim), values * 3 / 8);
      EXPECT_EQ(kKvKivi4.tile_bytes(tokens, dim), values * 5 / 8);
    }
  EXPECT_EQ(kKvKivi2.tile_bytes(32, 20), 32u * (5 + 4));
}

// Channels that are large throughout (which the keys of trained models have) cost the others nothing; a scale per token would.
TEST(Kivi, AKeyChannelThatIsLargeTakesNoOthersPrecision) {
  Rng rng(9);
  const int tokens = 32, dim = 64;
  std::vector<float> x = normals(rng, tokens * dim);
  for (int t = 0; t < tokens; ++t) x[static_cast<size_t>(t * dim + 5)] += 40;
  const auto error = [&](KvPart part) {
    const std::vector<float> y = round_trip(kKvKivi2, part, x, tokens, dim);
    std::vector<float> a, b;
    for (int t = 0; t < tokens; ++t)
      for (int d = 0; d < 32; ++d)
        if (d != 5) a.push_back(x[static_cast<size_t>(t * dim + d)]), b.push_back(y[static_cast<size_t>(t * dim + d)]);
    return error_of(a, b);
  };
  EXPECT_LT(error(KvPart::keys), 0.5);
  EXPECT_GT(error(KvPart::values), 0.9);  // all of them became one or two steps of 14
}

// Values with outliers, over a few directions, as keys and values of models have them.
std::vector<float> structured(Rng& rng, int tokens, int dim) {
  std::vector<float> x = normals(rng, tokens * dim), left = normals(rng, tokens), right = normals(rng, dim);
  for (int t = 0; t < tokens; ++t)
    for (int d = 0; d < dim; ++d) {
      float& v = x[static_cast<size_t>(t * dim + d)];
      v += 3 * left[static_cast<size_t>(t)] * right[static_cast<size_t>(d)];
      if (rng.below(50) == 0) v *= 4;
    }
  return x;
}

// GEAR's ablation: what D leaves, less with L, less again with S.
TEST(Gear, EachPartLowersTheError) {
  Rng rng(11);
  for (const int tokens : {64, 128, 256})
    for (const int dim : {24, 64, 128})
      for (const KvPart part : kParts) {
        const std::vector<float> x = structured(rng, tokens, dim);
        const auto error = [&](GearParts parts) {
          std::vector<uint8_t> tile(kKvGear4.tile_bytes(tokens, dim));
          std::vector<float> y(x.size());
          encode_gear(part, x.data(), tokens, dim, tile.data(), parts);
          kKvGear4.block->decode(part, tile.data(), tokens, dim, 0, tokens, y.data());
          return error_of(x, y);
        };
        const double codes = error({false, false}), low_rank = error({true, false}), sparse = error({false, true}), all = error({true, true});
        EXPECT_LT(low_rank, codes) << tokens << " x " << dim;
        EXPECT_LT(sparse, codes) << tokens << " x " << dim;
        EXPECT_LT(all, low_rank) << tokens << " x " << dim;
        EXPECT_LT(all, sparse) << tokens << " x " << dim;
      }
}

// What is left of D is a matrix of rank 2: then L gives it back.
TEST(Gear, FactorsOfRankTwoAreFound) {
  Rng rng(12);
  const int tokens = 64, dim = 64;
  // One channel is a straight line of codes, and the others are constant: D is exact but for what float16 rounds.
  std::vector<float> x(static_cast<size_t>(tokens * dim), 1.0f);
  for (int t = 0; t < tokens; ++t) x[static_cast<size_t>(t * dim)] = static_cast<float>(t);  // steps of 63 / 15: off by up to 2
  std::vector<uint8_t> tile(kKvGear4.tile_bytes(tokens, dim));
  std::vector<float> y(x.size());
  for (const bool low_rank : {false, true}) {
    encode_gear(KvPart::keys, x.data(), tokens, dim, tile.data(), {low_rank, false});
    kKvGear4.block->decode(KvPart::keys, tile.data(), tokens, dim, 0, tokens, y.data());
    if (low_rank) EXPECT_LT(error_of(x, y), 1e-3);
    else EXPECT_GT(error_of(x, y), 0.1);
  }
}

// Codes with a scale and a minimum a vector, two float16 of rank 2 per token and channel, and two outliers of 4 bytes a vector
// (values, whose vectors are shorter, decide).
TEST(Gear, BytesAreTheFormula) {
  EXPECT_EQ(kKvGear4.tile_bytes(64, 64), 64u * 32 + 64 * 4 + 2 * 2 * (64 + 64) + 64 * 2 * 4);
  EXPECT_EQ(kKvGear4.tile_bytes(128, 64), 128u * 32 + 128 * 4 + 2 * 2 * (128 + 64) + 128 * 2 * 4);
}

// One value far from the others of its vector is kept as it is, and widens no step.
TEST(KvQuant, AnOutlierOfEveryVectorTakesNoOthersPrecision) {
  Rng rng(13);
  for (const KvPart part : kParts)
    for (const int tokens : {64, 128})
      for (const float size : {500.0f, -500.0f}) {
        const int dim = 64;
        std::vector<float> x = normals(rng, tokens * dim);
        std::vector<uint8_t> far(x.size(), 0);
        for (int v = 0; v < (part == KvPart::keys ? dim : tokens); ++v) {
          const int t = part == KvPart::keys ? static_cast<int>(rng.between(1, tokens - 1)) : v, d = part == KvPart::keys ? v : static_cast<int>(rng.below(64));
          x[static_cast<size_t>(t * dim + d)] = size, far[static_cast<size_t>(t * dim + d)] = 1;
        }
        const std::vector<float> y = round_trip(kKvQuant3, part, x, tokens, dim);
        EXPECT_LT(error_of(x, y), 0.25);
        for (size_t i = 0; i < x.size(); ++i) {
          if (far[i] == 0) continue;
          ASSERT_EQ(y[i], size) << "token " << i / 64;
        }
      }
}

// An attention sink's key, and what it keeps other tokens from.
TEST(KvQuant, TheFirstTokenIsFloat16AndInNoRange) {
  Rng rng(14);
  const int tokens = 64, dim = 40;
  std::vector<float> x = normals(rng, tokens * dim);
  for (int d = 0; d < dim; ++d) x[static_cast<size_t>(d)] *= 1000;
  for (const KvPart part : kParts) {
    const std::vector<float> y = round_trip(kKvQuant3, part, x, tokens, dim);
    for (size_t d = 0; d < 40; ++d) EXPECT_EQ(y[d], f16_to_f32(f32_to_f16(x[d])));
    EXPECT_LT(error_of({x.begin() + dim, x.end()}, {y.begin() + dim, y.end()}), 0.25);
  }
}

// Codes, the first token, two float16 and an outlier of 4 bytes a vector. Nothing depends on what is stored, so that a block's
// outliers go to its own tile, whatever is before it.
TEST(KvQuant, BytesAreTheFormula) {
  EXPECT_EQ(kKvQuant3.tile_bytes(64, 64), 64u * 24 + 64 * 2 + 64 * 4 + 64 * 4);
  EXPECT_EQ(kKvQuant3.tile_bytes(128, 64), 128u * 24 + 64 * 2 + 128 * 4 + 128 * 4);
  EXPECT_EQ(kKvQuant3.tile_bytes(64, 20), 64u * 9 + 20 * 2 + 64 * 4 + 64 * 4);
}

}  // namespace
}  // namespace sluice
