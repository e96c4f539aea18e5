#include "quant/kv/kv_format.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "base/rng.h"

namespace sluice {
namespace {

class RowFormats : public testing::TestWithParam<const KvFormat*> {};
INSTANTIATE_TEST_SUITE_P(Catalog, RowFormats, testing::ValuesIn(kv_row_formats().begin(), kv_row_formats().end()),
                         [](const auto& info) { return std::string(info.param->name); });

std::vector<float> round_trip(const KvFormat& f, const std::vector<float>& x) {
  const int dim = static_cast<int>(x.size());
  std::vector<uint8_t> row(f.row_bytes(dim)), side(static_cast<size_t>(f.side_bytes));
  std::vector<float> y(x.size());
  f.encode(x.data(), dim, row.data(), side.data());
  const float factor = f.decode(row.data(), side.data(), dim, y.data());
  for (float& v : y) v *= factor;
  return y;
}

std::vector<float> normals(Rng& rng, int n, double size) {
  std::vector<float> x(static_cast<size_t>(n));
  for (float& v : x) v = static_cast<float>(rng.next_normal() * size);
  return x;
}

TEST_P(RowFormats, StandsAtItsTypeAndAddsUp) {
  const KvFormat& f = *GetParam();
  EXPECT_EQ(&kv_format(f.type), &f);
  for (const int dim : {1, 20, 64, 128})
    for (const int tokens : {1, 5, 16, 256}) {
      EXPECT_EQ(f.side_offset(tokens, dim), static_cast<size_t>(tokens) * f.row_bytes(dim));
      EXPECT_EQ(f.tile_bytes(tokens, dim), static_cast<size_t>(tokens) * f.tile_bytes(1, dim));
    }
  const size_t bytes_of_64[kNumRowKvTypes] = {256, 128, 128, 68, 64, 36};
  EXPECT_EQ(f.tile_bytes(1, 64), bytes_of_64[static_cast<size_t>(f.type)]);
}

// By how far a value may be off, in the row's largest value (int8, int4) or in itself.
TEST_P(RowFormats, RoundTripErrorIsBounded) {
  const KvFormat& f = *GetParam();
  Rng rng(5);
  for (const int dim : {1, 3, 64, 128})
    for (const double size : {1e-3, 1.0, 300.0}) {
      const std::vector<float> x = normals(rng, dim, size), y = round_trip(f, x);
      const float largest = std::fabs(*std::ranges::max_element(x, {}, [](float v) { return std::fabs(v); }));
      for (size_t i = 0; i < x.size(); ++i) {
        const float own = std::fabs(x[i]);
        const float bound = f.type == KvType::f32    ? 0
                            : f.type == KvType::f16  ? std::max(own * 0x1p-11f, 0x1p-25f)
                            : f.type == KvType::bf16 ? own * 0x1p-8f
                            : f.type == KvType::fp8  ? (own > 448 ? own - 448 : std::max(own * 0x1p-4f, 0x1p-10f))
                            : f.type == KvType::int4 ? largest * (0.5f / 7) * 1.0001f
                                                     : largest * (0.5f / 127) * 1.0001f;
        ASSERT_LE(std::fabs(y[i] - x[i]), bound) << f.name << " " << x[i];
      }
    }
}

TEST_P(RowFormats, KeepsZerosAndSurvivesTinyAndHugeRows) {
  const KvFormat& f = *GetParam();
  for (const float v : round_trip(f, std::vector<float>(20, 0.0f))) EXPECT_EQ(v, 0);
  for (const float size : {1e-45f, 1e-38f, 1e-30f, 6e4f}) {
    const std::vector<float> y = round_trip(f, std::vector<float>(20, size));
    const float want = f.type == KvType::fp8 ? std::min(size, 448.0f) : size;
    for (const float v : y) ASSERT_NEAR(v, want, std::max(size * 4e-3f, 1e-7f)) << f.name;
  }
}

// Damaged activations must not come back as sound ones: the engine refuses logits that are not finite.
TEST_P(RowFormats, WhatIsNotFiniteShows) {
  const KvFormat& f = *GetParam();
  for (const float bad : {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
                          std::numeric_limits<float>::quiet_NaN()}) {
    std::vector<float> x(33, 1.0f);
    x[20] = bad;
    const std::vector<float> y = round_trip(f, x);
    EXPECT_TRUE(std::ranges::any_of(y, [](float v) { return !std::isfinite(v); }));
  }
}

TEST(KvInt8, KnownRow) {
  const std::vector<float> x{254, -254, 1, 0.9f, 3, -3, 126.9f};
  std::vector<uint8_t> row(x.size());
  float scale;
  kKvInt8.encode(x.data(), static_cast<int>(x.size()), row.data(), reinterpret_cast<uint8_t*>(&scale));
  EXPECT_EQ(scale, 2);
  const std::vector<int8_t> want{127, -127, 0, 0, 2, -2, 63};  // 0.5 and 1.5 go to even
  EXPECT_EQ(0, std::memcmp(row.data(), want.data(), want.size()));
}

TEST(KvFp8, EveryCodeComesBackAndTiesGoToEven) {
  for (int code = 0; code < 256; ++code) {
    const uint8_t byte = static_cast<uint8_t>(code);
    float x;
    const float factor = kKvFp8.decode(&byte, nullptr, 1, &x);
    x *= factor;
    uint8_t again;
    kKvFp8.encode(&x, 1, &again, nullptr);
    EXPECT_EQ(again & 0x7f, code & 0x7f);
    if ((code & 0x7f) != 0x7f) {
      EXPECT_EQ(again, byte);
    }
  }
  const auto rounded = [](float x) {
    uint8_t byte;
    kKvFp8.encode(&x, 1, &byte, nullptr);
    const float factor = kKvFp8.decode(&byte, nullptr, 1, &x);
    return x * factor;
  };
  EXPECT_EQ(rounded(17), 16);  // between 16 and 18
  EXPECT_EQ(rounded(19), 20);
  EXPECT_EQ(rounded(463), 448);
  EXPECT_EQ(rounded(-1e6f), -448);
  EXPECT_EQ(rounded(0x1p-9f), 0x1p-9f);
  EXPECT_EQ(rounded(0x1p-10f), 0);
  EXPECT_EQ(rounded(0x1.8p-6f), 0x1.8p-6f);
}

TEST(KvInt4, KnownRow) {
  const std::vector<float> x{14, -14, 1, 0.9f, 3};
  std::vector<uint8_t> row(3);
  float scale;
  kKvInt4.encode(x.data(), 5, row.data(), reinterpret_cast<uint8_t*>(&scale));
  EXPECT_EQ(scale, 2);
  const std::vector<float> want{7, -7, 0, 0, 2};  // 0.5 and 1.5 go to even
  std::vector<float> got(5);
  kKvInt4.decode(row.data(), reinterpret_cast<uint8_t*>(&scale), 5, got.data());
  EXPECT_EQ(got, want);
}

}  // namespace
}  // namespace sluice
