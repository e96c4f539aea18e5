// The choice of experts against one made by sorting, in float64.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "backend/op_table.h"
#include "backend/ops.h"
#include "base/rng.h"

namespace sluice {
namespace {

struct Chosen {
  std::vector<int32_t> ids;
  std::vector<float> weights;
};

Chosen route(const std::vector<float>& logits, const Routing& r, int threads = 1) {
  ThreadPool pool(threads);
  const auto rows = static_cast<int64_t>(logits.size()) / r.experts;
  Chosen c{std::vector<int32_t>(static_cast<size_t>(rows * r.top_k), -1), std::vector<float>(static_cast<size_t>(rows * r.top_k))};
  Ops(kRefOps, pool).route(logits.data(), rows, r, c.ids.data(), c.weights.data());
  return c;
}

std::vector<int> by_value(const std::vector<double>& x) {
  std::vector<int> order(x.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, [&](int a, int b) { return x[static_cast<size_t>(a)] > x[static_cast<size_t>(b)]; });
  return order;
}

/// One row, from the definitions.
std::vector<std::pair<int, double>> wanted(const float* logits, const Routing& r) {
  const auto experts = static_cast<size_t>(r.experts);
  std::vector<double> score(logits, logits + experts);
  if (r.score == Routing::Score::sigmoid)
    for (double& s : score) s = 1 / (1 + std::exp(-s));
  if (r.score == Routing::Score::softmax) {
    double sum = 0;
    for (const double s : score) sum += std::exp(s);
    for (double& s : score) s = std::exp(s) / sum;
  }
  std::vector<double> choice = score;
  for (size_t e = 0; e < experts && r.selection_bias != nullptr; ++e) choice[e] += static_cast<double>(r.selection_bias[e]);
  const size_t size = experts / static_cast<size_t>(r.groups);
  std::vector<double> groups;
  for (size_t g = 0; g < experts; g += size) {
    std::vector<double> of(choice.begin() + static_cast<int64_t>(g), choice.begin() + static_cast<int64_t>(g + size));
    std::ranges::sort(of, std::greater<>());
    groups.push_back(r.group_score == Routing::GroupScore::best || size == 1 ? of[0] : of[0] + of[1]);
  }
  const std::vector<int> best = by_value(groups);
  for (size_t i = static_cast<size_t>(r.top_groups); i < best.size(); ++i)
    std::fill_n(choice.begin() + static_cast<int64_t>(static_cast<size_t>(best[i]) * size), size, -INFINITY);
  const std::vector<int> order = by_value(choice);
  std::vector<std::pair<int, double>> chosen;
  double sum = 0;
  for (size_t i = 0; i < static_cast<size_t>(r.top_k); ++i) {
    const double s = score[static_cast<size_t>(order[i])];
    chosen.push_back({order[i], r.score == Routing::Score::topk_softmax ? std::exp(s) : s});
    sum += chosen.back().second;
  }
  const bool divide = r.renormalize || r.score == Routing::Score::topk_softmax;
  for (auto& [id, weight] : chosen) weight *= static_cast<double>(r.scale) / (divide ? sum : 1);
  return chosen;
}

TEST(Route, EqualsTheDefinitionsOnRandomLogits) {
  Rng rng(61);
  for (int trial = 0; trial < 300; ++trial) {
    Routing r;
    r.groups = static_cast<int>(rng.between(1, 4));
    r.experts = r.groups * static_cast<int>(rng.between(1, 16));
    r.top_groups = static_cast<int>(rng.between(1, r.groups));
    r.top_k = static_cast<int>(rng.between(1, std::min(8, r.top_groups * (r.experts / r.groups))));
    r.score = static_cast<Routing::Score>(rng.below(3));
    r.renormalize = rng.below(2) == 0;
    r.group_score = static_cast<Routing::GroupScore>(rng.below(2));
    r.scale = rng.below(2) == 0 ? 1.0f : 2.5f;
    std::vector<float> bias(static_cast<size_t>(r.experts)), logits(static_cast<size_t>(50 * r.experts));
    for (float& b : bias) b = static_cast<float>(rng.next_normal() * 0.2);
    // In steps, so that many are equal.
    for (float& l : logits) l = std::round(static_cast<float>(rng.next_normal()) * 4) / 4;
    if (rng.below(2) == 0) r.selection_bias = bias.data();
    const Chosen got = route(logits, r), again = route(logits, r, 3);
    EXPECT_EQ(got.ids, again.ids);
    EXPECT_EQ(got.weights, again.weights);
    for (size_t row = 0, i = 0; row < 50; ++row)
      for (const auto& [id, weight] : wanted(logits.data() + row * static_cast<size_t>(r.experts), r)) {
        ASSERT_EQ(got.ids[i], id) << "trial " << trial << " row " << row;
        ASSERT_NEAR(static_cast<double>(got.weights[i]), weight, 1e-6 * weight) << "trial " << trial << " row " << row;
        ++i;
      }
  }
}

TEST(Route, OfEqualLogitsTheFirstAreChosenAlsoOfLargeOnes) {
  for (const float logit : {0.0f, 1e30f, -1e30f}) {
    const Chosen c = route(std::vector<float>(8, logit), {.experts = 8, .top_k = 3, .renormalize = true});
    EXPECT_EQ(c.ids, (std::vector<int32_t>{0, 1, 2}));
    for (const float w : c.weights) EXPECT_EQ(w, 1.0f / 3);
  }
}

TEST(Route, TopkSoftmaxIsTheRenormalizedSoftmax) {
  Rng rng(67);
  std::vector<float> logits(8 * 100);
  for (float& l : logits) l = static_cast<float>(rng.next_normal() * 3);
  const Chosen a = route(logits, {.experts = 8, .top_k = 2, .score = Routing::Score::topk_softmax});
  const Chosen b = route(logits, {.experts = 8, .top_k = 2, .renormalize = true});
  EXPECT_EQ(a.ids, b.ids);
  for (size_t i = 0; i < a.weights.size(); ++i) EXPECT_NEAR(a.weights[i], b.weights[i], 1e-6f);
}

TEST(Route, DamageShows) {
  std::vector<float> logits(8, 0.5f);
  logits[5] = NAN;
  const Chosen c = route(logits, {.experts = 8, .top_k = 2});
  for (const int32_t id : c.ids) EXPECT_TRUE(id >= 0 && id < 8);
  EXPECT_NE(c.ids[0], c.ids[1]);
  for (const float w : c.weights) EXPECT_TRUE(std::isnan(w));
}

TEST(Route, RefusesMoreExpertsThanItsGroupsHave) {
  EXPECT_DEATH(route(std::vector<float>(8), {.experts = 8, .top_k = 3, .groups = 4, .top_groups = 1}), "3 experts of 1 groups of 2");
  EXPECT_DEATH(route(std::vector<float>(8), {.experts = 8, .top_k = 9}), "9 of 8 experts");
}

}  // namespace
}  // namespace sluice
