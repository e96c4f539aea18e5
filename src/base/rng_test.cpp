#include "base/rng.h"

#include <gtest/gtest.h>

namespace sluice {
namespace {

// Known answers of Philox4x32-10 from the Random123 distribution (kat_vectors): counter words, key words, result.
TEST(Philox, KnownAnswers) {
  EXPECT_EQ(philox({0, 0}, 0, 0), (std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox({0xffffffffffffffffull, 0xffffffff}, 0xffffffffffffffffull, 0xffffffff),
            (std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
}

TEST(Rng, UniformAndBounded) {
  Rng rng(7);
  double sum = 0;
  for (int i = 0; i < 20000; ++i) {
    const double x = rng.next_double();
    ASSERT_GE(x, 0.0);
    ASSERT_LT(x, 1.0);
    sum += x;
    const auto b = rng.between(-3, 3);
    ASSERT_GE(b, -3);
    ASSERT_LE(b, 3);
  }
  EXPECT_NEAR(sum / 20000, 0.5, 0.01);
}

}  // namespace
}  // namespace sluice
