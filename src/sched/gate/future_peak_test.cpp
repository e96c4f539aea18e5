#include "sched/gate/future_peak.h"

#include <gtest/gtest.h>

#include "base/rng.h"

namespace sluice {
namespace {

/// Step by step: in every step all those in step compute; of the others a random part, and some of them before all.
int64_t peak_of_a_run(std::vector<Claim> claims, int block_tokens, Rng* held_up) {
  int64_t peak = 0;
  for (Claim& c : claims)
    if (held_up != nullptr && !c.in_step && c.steps > 1 && held_up->below(2) == 0) ++c.positions, --c.steps;
  while (!claims.empty()) {
    int64_t now = 0;
    for (const Claim& c : claims) now += (c.positions + block_tokens - 1) / block_tokens;
    peak = std::max(peak, now);
    std::vector<Claim> next;
    for (Claim c : claims) {
      const bool runs = c.in_step || held_up == nullptr || held_up->below(3) == 0;
      if (runs) ++c.positions, --c.steps;
      if (c.steps > 0) next.push_back(c);
    }
    claims = std::move(next);
  }
  return peak;
}

std::vector<Claim> random_claims(Rng& rng, bool all_in_step) {
  std::vector<Claim> claims(static_cast<size_t>(rng.between(1, 12)));
  for (Claim& c : claims)
    c = {static_cast<int>(rng.between(1, 60)), static_cast<int>(rng.between(1, 40)), all_in_step || rng.below(2) == 0};
  return claims;
}

TEST(FuturePeak, IsThePeakOfARunWhenAllAreInStep) {
  Rng rng(1);
  for (int i = 0; i < 2000; ++i) {
    const std::vector<Claim> claims = random_claims(rng, true);
    for (const int block : {1, 2, 3, 16, 64})
      ASSERT_EQ(future_peak_blocks(claims, block), peak_of_a_run(claims, block, nullptr)) << i << ", blocks of " << block;
  }
}

TEST(FuturePeak, BoundsEveryRunWhereSomeAreHeldUp) {
  Rng rng(2);
  int tight = 0;
  for (int i = 0; i < 2000; ++i) {
    const std::vector<Claim> claims = random_claims(rng, false);
    const int block = static_cast<int>(rng.between(1, 20));
    const int64_t bound = future_peak_blocks(claims, block);
    int64_t reserved = 0;
    for (const Claim& c : claims) reserved += (c.positions + c.steps - 1 + block - 1) / block;
    ASSERT_LE(bound, reserved);
    tight += bound < reserved;
    for (int run = 0; run < 5; ++run) ASSERT_LE(peak_of_a_run(claims, block, &rng), bound) << i;
  }
  EXPECT_GT(tight, 1000) << "it is hardly ever below what full lengths take";
}

TEST(FuturePeak, WithNobodyInStepIsTheSumOfFullLengths) {
  EXPECT_EQ(future_peak_blocks({{5, 12, false}, {16, 1, false}, {1, 33, false}}, 16), 1 + 1 + 3);
  EXPECT_EQ(future_peak_blocks({{5, 12, true}, {16, 1, true}}, 16), 2);  // the second ends before the first grows
  EXPECT_EQ(future_peak_blocks({}, 16), 0);
}

}  // namespace
}  // namespace sluice
