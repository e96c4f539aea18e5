#include "sample/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include "base/rng.h"

namespace sluice {
namespace {

std::vector<float> random_logits(Rng& rng, int vocab, double scale = 2.0) {
  std::vector<float> logits(vocab);
  for (float& z : logits) z = static_cast<float>(scale * rng.next_normal());
  return logits;
}

/// The distribution that the definitions give, computed the slow way in double precision.
std::vector<double> reference(const std::vector<float>& logits, const SamplingParams& p) {
  const int n = static_cast<int>(logits.size());
  std::vector<double> prob(n);
  const double top = *std::max_element(logits.begin(), logits.end());
  for (int i = 0; i < n; ++i) prob[i] = std::exp((logits[i] - top) / p.temperature);
  std::vector<int> order(n);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return logits[a] > logits[b]; });
  std::vector<bool> keep(n, true);
  if (p.top_k > 0)
    for (int i = p.top_k; i < n; ++i) keep[order[i]] = false;
  double mass = 0;
  for (int i = 0; i < n; ++i) mass += keep[i] ? prob[i] : 0;
  double seen = 0;
  for (int i : order) {
    if (!keep[i]) continue;
    if (seen >= p.top_p * mass) keep[i] = false;
    seen += prob[i];
  }
  for (int i = 0; i < n; ++i)
    if (prob[i] < p.min_p * prob[order[0]]) keep[i] = false;
  double total = 0;
  for (int i = 0; i < n; ++i) total += prob[i] = keep[i] ? prob[i] : 0;
  for (double& x : prob) x /= total;
  return prob;
}

/// Pearson's statistic over the 50 likeliest tokens, a bin for the rest and one for what can never be drawn, and the 1 %
/// critical value (Wilson-Hilferty).
struct ChiSquare { double statistic, critical; };
template <class Draw>
ChiSquare chi_square(const std::vector<double>& prob, int draws, Draw draw) {
  std::vector<int> order(prob.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return prob[a] > prob[b]; });
  std::map<int, int> bin_of;
  for (size_t i = 0; i < std::min<size_t>(50, order.size()); ++i)
    if (prob[order[i]] * draws >= 5) bin_of[order[i]] = static_cast<int>(i);
  const int rest = 50, never = 51;
  auto bin = [&](int id) { return prob[id] == 0 ? never : bin_of.contains(id) ? bin_of[id] : rest; };
  std::vector<double> expected(52, 0), seen(52, 0);
  for (size_t i = 0; i < prob.size(); ++i) expected[bin(static_cast<int>(i))] += prob[i] * draws;
  for (int i = 0; i < draws; ++i) seen[bin(draw(i))] += 1;
  double statistic = 0;
  int bins = 0;
  for (int b = 0; b <= never; ++b) {
    if (b == never) statistic += seen[b] * 1e6;
    if (expected[b] < 5) continue;
    statistic += (seen[b] - expected[b]) * (seen[b] - expected[b]) / expected[b];
    ++bins;
  }
  const double k = std::max(1, bins - 1), z = 2.326;
  return {statistic, k * std::pow(1 - 2 / (9 * k) + z * std::sqrt(2 / (9 * k)), 3)};
}

TEST(Sampler, GreedyTakesTheLowestIdAmongEquals) {
  Sampler sampler;
  Request request;
  request.sampling.temperature = 0;
  std::vector<float> logits = {1, 5, 5, -1};
  EXPECT_EQ(sampler.sample(request, {}, logits).token, 1);
}

TEST(Sampler, FindsTheLargestAndWhatIsNotFiniteAtEveryPlaceOfARow) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity(), kNan = std::numeric_limits<float>::quiet_NaN();
  for (const size_t size : {1, 7, 31, 32, 33, 64, 100}) {
    std::vector<float> z(size, -3);
    EXPECT_TRUE(all_finite(z));
    EXPECT_EQ(argmax(z), 0);
    for (size_t at = 0; at < size; ++at) {
      const auto with = [&](float value) {
        std::vector<float> changed = z;
        changed[at] = value;
        return changed;
      };
      EXPECT_EQ(argmax(with(2)), static_cast<TokenId>(at)) << size;
      EXPECT_EQ(argmax(with(kInfinity)), static_cast<TokenId>(at)) << size;
      EXPECT_TRUE(all_finite(with(std::numeric_limits<float>::max()))) << size;
      for (const float bad : {kInfinity, -kInfinity, kNan}) EXPECT_FALSE(all_finite(with(bad))) << size << ", " << at;
      if (size > 1) {
        EXPECT_EQ(argmax(with(kNan)), at == 0 ? 1 : 0) << size << ": a NaN never wins";
      }
    }
    EXPECT_EQ(argmax(std::vector<float>(size, -kInfinity)), 0);
    EXPECT_EQ(argmax(std::vector<float>(size, kNan)), 0);
  }
}

// Long rows are cut to what may be among the top k before anything is sorted.
TEST(Sampler, TopKOfALongRowIsThatOfASortedOne) {
  Rng rng(8);
  for (const int k : {1, 2, 15, 40, 78, 79, 200}) {
    std::vector<float> logits = random_logits(rng, 5000);
    for (int i = 0; i < 60; ++i) logits[rng.below(5000)] = 4;  // ties, of which the lowest ids come first
    std::vector<TokenId> ids(logits.size());
    std::iota(ids.begin(), ids.end(), 0);
    std::ranges::sort(ids, [&](TokenId a, TokenId b) { return logits[a] != logits[b] ? logits[a] > logits[b] : a < b; });
    std::map<TokenId, int> seen;
    Request request;
    request.sampling.top_k = k;
    request.sampling.temperature = 100;  // nearly uniform
    const std::vector<TokenId> tokens(static_cast<size_t>(30 * k) + 1, 0);
    Sampler sampler;
    for (int i = 0; i < 30 * k; ++i) {
      std::vector<float> row = logits;
      ++seen[sampler.sample(request, {std::span(tokens).first(static_cast<size_t>(i) + 1), 0, 0}, row).token];
    }
    std::vector<TokenId> expected(ids.begin(), ids.begin() + k), drawn;
    for (const auto& [id, count] : seen) drawn.push_back(id);
    std::ranges::sort(expected);
    EXPECT_EQ(drawn, expected) << "top " << k;
  }
}

// Drawing skips over blocks of a long row: the mass of each token must still be its own, wherever it stands.
TEST(Sampler, DrawsFromALongRowWithFewTokensThatMayBeDrawn) {
  std::vector<float> logits(3000, -std::numeric_limits<float>::infinity());
  const std::map<TokenId, double> share = {{0, 0.1}, {255, 0.2}, {256, 0.3}, {1700, 0.25}, {2999, 0.15}};
  for (const auto& [id, p] : share) logits[static_cast<size_t>(id)] = static_cast<float>(std::log(p));
  constexpr int kDraws = 20000;
  const std::vector<TokenId> tokens(kDraws, 0);
  for (const float top_p : {1.0f, 0.9999f}) {
    Request request;
    request.sampling.top_p = top_p;
    std::map<TokenId, int> seen;
    Sampler sampler;
    for (int i = 0; i < kDraws; ++i) {
      std::vector<float> row = logits;
      ++seen[sampler.sample(request, {std::span(tokens).first(static_cast<size_t>(i)), 0, 0}, row).token];
    }
    ASSERT_EQ(seen.size(), share.size());
    for (const auto& [id, p] : share)  // five deviations
      EXPECT_NEAR(seen[id], p * kDraws, 5 * std::sqrt(kDraws * p * (1 - p))) << id << ", top-p " << top_p;
  }
}

TEST(Sampler, DrawsFollowTheDistributionAndBrokenSamplersDoNot) {
  Rng rng(3);
  const std::vector<float> logits = random_logits(rng, 300);
  Sampler sampler;
  std::vector<SamplingParams> cases(7);
  cases[1].temperature = 0.7f;
  cases[2].top_k = 20;
  cases[3].top_p = 0.8f;
  cases[4].min_p = 0.05f;
  cases[5].temperature = 1.3f, cases[5].top_k = 60, cases[5].top_p = 0.9f, cases[5].min_p = 0.02f;
  cases[6].top_k = 300, cases[6].top_p = 0.999f;
  constexpr int kDraws = 100000;
  const std::vector<TokenId> tokens(kDraws + 1, 0);
  int truncating = 0;
  for (size_t c = 0; c < cases.size(); ++c) {
    Request request;
    request.sampling = cases[c];
    request.sampling.seed = 99 + c;
    const std::vector<double> prob = reference(logits, cases[c]);
    auto draws = [&](const Request& r, int count) {
      std::vector<TokenId> drawn;
      for (int i = 0; i < count; ++i) {
        std::vector<float> scratch = logits;
        drawn.push_back(sampler.sample(r, {std::span(tokens).first(i + 1), 1, 0}, scratch).token);
      }
      return [drawn = std::move(drawn)](int i) { return drawn[i]; };
    };
    const auto drawn = draws(request, kDraws);
    const ChiSquare good = chi_square(prob, kDraws, drawn);
    EXPECT_LT(good.statistic, good.critical) << "case " << c;
    // Planted faults: the test must see a temperature that is 5 % off, and a truncation that is not applied.
    SamplingParams wrong = cases[c];
    wrong.temperature *= 1.05f;
    const ChiSquare off = chi_square(reference(logits, wrong), kDraws, drawn);
    EXPECT_GT(off.statistic, off.critical) << "case " << c << ": a wrong temperature passes unnoticed";
    if (std::ranges::count(prob, 0.0) == 0) continue;
    request.sampling.top_k = 0, request.sampling.top_p = 1, request.sampling.min_p = 0;
    const ChiSquare whole = chi_square(prob, kDraws / 10, draws(request, kDraws / 10));
    EXPECT_GT(whole.statistic, whole.critical) << "case " << c << ": a truncation that is not applied passes unnoticed";
    ++truncating;
  }
  EXPECT_EQ(truncating, 5);
}

TEST(Sampler, NeighbouringSeedsSamplesAndPositionsAreIndependent) {
  // Pairs of draws at positions (p, p + 1), seeds (s, s + 1) and samples (0, 1): their joint distribution is the product.
  const std::vector<float> logits = {0.0f, 0.7f, -0.4f, 0.2f};
  Sampler sampler;
  Request request;
  const std::vector<double> single = reference(logits, request.sampling);
  std::vector<double> joint;
  for (double a : single)
    for (double b : single) joint.push_back(a * b);
  const std::vector<TokenId> tokens(40001, 0);
  auto at = [&](uint64_t seed, int sample, int position) {
    request.sampling.seed = seed;
    std::vector<float> scratch = logits;
    return sampler.sample(request, {std::span(tokens).first(position), 1, sample}, scratch).token;
  };
  for (int kind = 0; kind < 3; ++kind) {
    const ChiSquare c = chi_square(joint, 20000, [&](int i) {
      if (kind == 0) return at(1, 0, 2 * i + 1) * 4 + at(1, 0, 2 * i + 2);
      if (kind == 1) return at(2 * i, 0, 9) * 4 + at(2 * i + 1, 0, 9);
      return at(i, 0, 9) * 4 + at(i, 1, 9);
    });
    EXPECT_LT(c.statistic, c.critical) << "kind " << kind;
  }
}

TEST(Sampler, PenaltiesBiasAndMinimumLengthFollowTheirFormulas) {
  Request request;
  SamplingParams& p = request.sampling;
  p.repetition_penalty = 2.0f;
  p.frequency_penalty = 0.25f;
  p.presence_penalty = 0.5f;
  const std::vector<TokenId> tokens = {0, 1, 2, 2, 3};  // prompt 0 1; output 2 2 3
  std::vector<float> logits = {4, -4, 4, -4, 1};
  apply_penalties(p, {tokens, 2, 0}, logits);
  EXPECT_EQ(logits, (std::vector<float>{2, -8, 2 - 0.5f - 0.5f, -8 - 0.25f - 0.5f, 1}));
  p.logit_bias = {{4, 3.5f}, {0, -100.0f}};
  apply_logit_bias(p, logits);
  EXPECT_EQ(logits[4], 4.5f);
  EXPECT_EQ(logits[0], -98.0f);

  request.eos_token_ids = {1};
  request.stop_token_ids = {3};
  p = SamplingParams{};
  p.min_tokens = 3;
  for (int outputs = 0; outputs < 5; ++outputs) {
    std::vector<float> z = {0, 9, 0, 8, 7};
    const std::vector<TokenId> t(2 + outputs, 0);
    apply_min_tokens(request, {t, 2, 0}, z);
    EXPECT_EQ(argmax(z), outputs < 3 ? 4 : 1) << outputs;  // three outputs, then a stop token may come
  }
}

TEST(Sampler, LogprobsAreTheModelsOwn) {
  Rng rng(8);
  const std::vector<float> logits = random_logits(rng, 1000);
  Request request;
  request.sampling.logprobs = 5;
  request.sampling.temperature = 0.3f;
  request.sampling.top_k = 3;
  std::vector<float> scratch = logits;
  const std::vector<TokenId> tokens = {1};
  const SampledToken token = Sampler().sample(request, {tokens, 1, 0}, scratch);
  double sum = 0;
  for (float z : logits) sum += std::exp(static_cast<double>(z));
  ASSERT_EQ(token.top.size(), 5u);
  EXPECT_EQ(token.top[0].token, argmax(logits));
  for (const TokenLogprob& t : token.top) EXPECT_NEAR(t.logprob, logits[t.token] - std::log(sum), 1e-5);
  EXPECT_NEAR(token.logprob, logits[token.token] - std::log(sum), 1e-5);
  for (size_t i = 1; i < token.top.size(); ++i) EXPECT_GE(token.top[i - 1].logprob, token.top[i].logprob);
}

TEST(Sampler, ATemperatureTooSmallToInvertIsGreedy) {
  const std::vector<float> logits = {-1.0f, 0.5f, 3.0f, 2.9f};
  Request request;
  request.sampling.temperature = 1e-40f;
  const std::vector<TokenId> tokens = {1};
  std::vector<float> row = logits;
  EXPECT_EQ(Sampler().sample(request, {tokens, 1, 0}, row).token, 2);
}

}  // namespace
}  // namespace sluice
