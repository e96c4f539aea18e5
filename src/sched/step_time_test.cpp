#include "sched/step_time.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "sched/step_time_fit.h"

namespace sluice {
namespace {

/// 8 ms, and 0.5 ms a row that grows by 200 ns a position read.
struct Linear final : StepTimeEstimate {
  std::optional<double> step_ns(const StepShape& s) const override { return 8e6 + 5e5 * s.rows + 200 * s.row_context; }
};

StepShape shape_of(int decodes, int context, int prompt_tokens) {
  StepShape s;
  for (int i = 0; i < decodes; ++i) s.add(context, 1, 1);
  if (prompt_tokens > 0) s.add(0, prompt_tokens, 0);
  return s;
}

TEST(StepTime, TheMostTokensThatFitAreFound) {
  const Linear estimate;
  for (const int decodes : {0, 3, 16, 100})
    for (const Nanos limit : {5'000'000, 20'000'000, 100'000'000, 900'000'000}) {
      const StepShape so_far = shape_of(decodes, 500, 0);
      int best = 0;
      for (int n = 1; n <= 300; ++n) {
        StepShape shape = so_far;
        shape.add(64, n, 1);
        if (*estimate.step_ns(shape) <= static_cast<double>(limit)) best = n;
      }
      const int got = *tokens_within(estimate, limit, so_far, 64, 300);
      EXPECT_LE(got, best);
      EXPECT_GT(got, best - 16) << "more is given away than the last tile";
      if (got < best) {
        EXPECT_EQ((got + decodes) % 16, 0);
      }
    }
}

TEST(StepTime, TheKneeIsWhereThroughputHardlyGrows) {
  const Linear estimate;  // n / (8 + n / 2): nine tenths of the best at some 118 rows of 2048
  const int knee = *knee_tokens(estimate, 2048);
  EXPECT_GE(knee, 112);
  EXPECT_LE(knee, 144);
  EXPECT_EQ(*knee_tokens(estimate, 16), 16);
}

TEST(StepTimeFit, KnowsNothingAtFirstAndSoonTheStepsItSaw) {
  StepTimeFit fit;
  Rng rng(3);
  const Linear truth;
  EXPECT_FALSE(fit.step_ns(shape_of(1, 1, 0)).has_value());
  EXPECT_FALSE(tokens_within(fit, 1'000'000, {}, 0, 10).has_value());
  for (int i = 0; i < 64; ++i) fit.measured(shape_of(8, 100, 0), 12'000'000);
  EXPECT_FALSE(fit.step_ns(shape_of(8, 100, 0)).has_value()) << "equal steps say nothing about others";
  for (int i = 0; i < 500; ++i) {
    const StepShape s = shape_of(static_cast<int>(rng.between(1, 40)), static_cast<int>(rng.between(10, 1000)), static_cast<int>(rng.below(2) * rng.between(1, 400)));
    // One in twenty is disturbed, the others are measured to 3 %.
    const double noise = rng.below(20) == 0 ? 5 : 1 + 0.03 * (rng.next_double() * 2 - 1);
    fit.measured(s, static_cast<Nanos>(*truth.step_ns(s) * noise));
  }
  for (const StepShape& s : {shape_of(4, 200, 0), shape_of(32, 800, 0), shape_of(16, 100, 256), shape_of(0, 0, 300)})
    EXPECT_NEAR(*fit.step_ns(s) / *truth.step_ns(s), 1, 0.15);
}

TEST(StepTimeFit, FollowsAMachineThatHasBecomeSlower) {
  StepTimeFit fit;
  Rng rng(4);
  const Linear truth;
  for (int i = 0; i < 8000; ++i) {
    const StepShape s = shape_of(static_cast<int>(rng.between(1, 40)), 100, static_cast<int>(rng.between(0, 200)));
    fit.measured(s, static_cast<Nanos>(*truth.step_ns(s) * (i < 2000 ? 1 : 2)));
  }
  const StepShape s = shape_of(16, 100, 100);
  EXPECT_NEAR(*fit.step_ns(s) / *truth.step_ns(s), 2, 0.1);
}

}  // namespace
}  // namespace sluice
