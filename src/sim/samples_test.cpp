#include "sim/samples.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/rng.h"

namespace sluice {
namespace {

std::vector<double> skewed(uint64_t seed, int n) {
  Rng rng(seed);
  std::vector<double> values;
  for (int i = 0; i < n; ++i) values.push_back(i % 50 == 0 ? 0 : std::exp(3 * rng.next_normal()));
  return values;
}

void expect_close(const Spread& sketch, const Spread& exact) {
  EXPECT_NEAR(sketch.mean, exact.mean, 1e-9 * exact.mean);
  EXPECT_NEAR(sketch.std, exact.std, 1e-9 * exact.std);
  // Among so many values the neighbouring order statistics are close to each other.
  for (const auto part : {&Spread::median, &Spread::p50, &Spread::p90, &Spread::p95, &Spread::p99})
    EXPECT_NEAR(sketch.*part, exact.*part, (Samples::kError + 1e-9) * exact.*part);
}

TEST(Samples, AreExactWhileFewAndWithinTheErrorBeyond) {
  const std::vector<double> values = skewed(1, 20'000);
  Samples exact(20'000), sketch(1000);
  for (const double v : values) exact.add(v), sketch.add(v);
  EXPECT_TRUE(exact.exact());
  EXPECT_FALSE(sketch.exact());
  const Spread truth = spread_of(values), kept = exact.spread();
  EXPECT_EQ(kept.p99, truth.p99);
  EXPECT_EQ(kept.mean, truth.mean);
  EXPECT_DOUBLE_EQ(exact.percentile(90), truth.p90);
  expect_close(sketch.spread(), truth);
  EXPECT_EQ(sketch.percentile(0), 0);
  EXPECT_NEAR(sketch.percentile(100), sketch.max(), Samples::kError * sketch.max());
  EXPECT_EQ(sketch.max(), *std::ranges::max_element(values));
}

TEST(Samples, MergeAsIfAddedTogether) {
  for (const size_t most_exact : {size_t{100}, size_t{1500}, size_t{100'000}}) {
    Samples a(most_exact), b(most_exact), empty;
    std::vector<double> all = skewed(2, 1000), more = skewed(3, 1000);
    for (const double v : all) a.add(v);
    for (const double v : more) b.add(v);
    all.insert(all.end(), more.begin(), more.end());
    a.merge(b);
    a.merge(empty);
    EXPECT_EQ(a.count(), all.size());
    EXPECT_EQ(a.exact(), most_exact >= all.size());
    if (a.exact()) EXPECT_EQ(a.spread().p95, spread_of(all).p95);
    else EXPECT_NEAR(a.percentile(95), spread_of(all).p95, 0.03 * spread_of(all).p95);
  }
  EXPECT_EQ(Samples().percentile(50), 0);
}

}  // namespace
}  // namespace sluice
