#include "kv/retention/kv_retention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "base/rng.h"
#include "kv/retention/averaged.h"
#include "kv/retention/h2o.h"
#include "kv/retention/keyformer.h"
#include "kv/retention/sink_window.h"

namespace sluice {
namespace {

// One position after the other, as the schedule is meant: a slot is freed by the stride when none is left.
TEST(KvRetention, TheScheduleIsThatOfOnePositionAfterTheOther) {
  Rng rng(3);
  for (int round = 0; round < 300; ++round) {
    RetentionOptions o;
    o.sinks = static_cast<int>(rng.below(5));
    if (round % 3 == 0) o.prompt_share = static_cast<double>(rng.between(1, 10)) / 10;
    else o.budget_tokens = static_cast<int>(rng.between(kLeastRetentionBudget + o.sinks, 90));
    if (round % 2 == 0) o.stride_tokens = static_cast<int>(rng.between(1, 4));
    const int prompt = static_cast<int>(rng.between(1, 150));
    const SinkWindow policy(o);
    const int budget = o.budget_tokens > 0 ? o.budget_tokens : std::max(kLeastRetentionBudget + o.sinks, static_cast<int>(o.prompt_share * prompt));
    const int stride = o.stride_tokens > 0 ? o.stride_tokens : std::max(1, budget / 16);
    int dropped = 0, most = 0;
    for (int position = 0; position < 400; ++position) {
      const bool whole_prompt = o.budget_tokens == 0 && position < prompt;
      while (!whole_prompt && position - dropped >= budget) dropped += stride;
      ASSERT_EQ(policy.dropped_at(prompt, position), dropped) << "budget " << budget << ", stride " << stride << ", prompt " << prompt << ", position " << position;
      most = std::max(most, position + 1 - dropped);
      ASSERT_EQ(policy.slots_to_hold(prompt, position + 1), most);
      const int next = policy.next_eviction(prompt, position);
      ASSERT_GT(next, position);
      ASSERT_EQ(policy.dropped_at(prompt, next - 1), dropped);
      ASSERT_GT(policy.dropped_at(prompt, next), dropped);
    }
  }
}

TEST(KvRetention, NoneLetsGoOfNothing) {
  const auto none = make_retention("none", {});
  ASSERT_TRUE(none.ok());
  EXPECT_EQ((*none)->dropped_at(5, 1 << 30), 0);
  EXPECT_EQ((*none)->next_eviction(5, 1 << 30), KvRetention::kNever);
  EXPECT_EQ((*none)->slots_to_hold(5, 1 << 30), 1 << 30);
}

std::vector<int32_t> kept(const KvRetention& policy, std::vector<float> scores, int count, int next_position = 100) {
  std::vector<int32_t> positions(scores.size()), out;
  std::iota(positions.begin(), positions.end(), 0);
  policy.keep(scores, positions, next_position, static_cast<int>(scores.size()), count, out);
  return out;
}

TEST(KvRetention, EachKeepsWhatItsPaperSays) {
  const std::vector<float> scores = {9, 1, 8, 2, 7, 3, 6, 0, 0, 5};
  EXPECT_EQ(kept(SinkWindow(RetentionOptions{.sinks = 2}), scores, 6), (std::vector<int32_t>{0, 1, 6, 7, 8, 9}));
  EXPECT_EQ(kept(SinkWindow(RetentionOptions{.sinks = 0}), scores, 4), (std::vector<int32_t>{6, 7, 8, 9}));
  EXPECT_EQ(kept(H2o(RetentionOptions{}), scores, 6), (std::vector<int32_t>{0, 2, 4, 7, 8, 9})) << "three recent, three heavy";
  EXPECT_EQ(kept(H2o(RetentionOptions{.recent_share = 1}), scores, 3), (std::vector<int32_t>{7, 8, 9}));
  EXPECT_EQ(kept(H2o(RetentionOptions{}), scores, 10), (std::vector<int32_t>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
  // Ten rows have seen the first token, and six the one at 4: 0.9 and 7 / 6.
  EXPECT_EQ(kept(Averaged(RetentionOptions{}), scores, 2, 10), (std::vector<int32_t>{6, 9})) << "6 / 4 is the highest mean";
  EXPECT_EQ(kept(H2o(RetentionOptions{}), scores, 2, 10), (std::vector<int32_t>{0, 9}));
  EXPECT_EQ(kept(Keyformer(RetentionOptions{}), scores, 10 - 3), (std::vector<int32_t>{0, 2, 4, 5, 6, 8, 9})) << "0.3 of seven are recent: two";
  EXPECT_EQ(kept(H2o(RetentionOptions{}), std::vector<float>(8, 1.0f), 4), (std::vector<int32_t>{4, 5, 6, 7})) << "of equal worth the newer stays";
}

/// Rows of random logits, seen by one policy: the scores, and each row's in float64 by the definition.
std::vector<float> observe(const KvRetention& policy, uint64_t seed, int rows, int prompt, int max_tokens) {
  Rng rng(11);
  std::vector<float> scores(static_cast<size_t>(rows));
  std::vector<int32_t> positions(static_cast<size_t>(rows));
  std::iota(positions.begin(), positions.end(), 0);
  for (int r = 0; r < rows; ++r) {
    std::vector<float> logits;
    for (int i = 0; i <= r; ++i) logits.push_back(static_cast<float>(rng.next_normal()) * 3);
    policy.observe({logits, std::span<const int32_t>(positions).first(logits.size()), r, prompt, max_tokens, seed, 1, 2}, std::span<float>(scores).first(logits.size()));
  }
  return scores;
}

TEST(KvRetention, ScoresAreSumsOfProbabilities) {
  const std::vector<float> scores = observe(H2o(RetentionOptions{}), 1, 60, 20, 40);
  Rng rng(11);
  std::vector<double> want(60);
  for (size_t r = 0; r < 60; ++r) {
    std::vector<double> p;
    for (size_t i = 0; i <= r; ++i) p.push_back(std::exp(rng.next_normal() * 3));
    const double sum = std::accumulate(p.begin(), p.end(), 0.0);
    for (size_t i = 0; i <= r; ++i) want[i] += p[i] / sum;
  }
  for (size_t i = 0; i < 60; ++i) EXPECT_NEAR(scores[i], want[i], 1e-4) << i;
  EXPECT_NEAR(std::accumulate(scores.begin(), scores.end(), 0.0), 60, 1e-3);
}

TEST(KvRetention, KeyformerWithoutNoiseAndTemperatureIsH2o) {
  EXPECT_EQ(observe(Keyformer(RetentionOptions{}, {.noise = 0, .tau_end = 1}), 1, 60, 20, 40), observe(H2o(RetentionOptions{}), 1, 60, 20, 40));
  EXPECT_NE(observe(Keyformer(RetentionOptions{}, {.noise = 0, .tau_end = 2}), 1, 60, 20, 40), observe(H2o(RetentionOptions{}), 1, 60, 20, 40));
  EXPECT_EQ(observe(Keyformer(RetentionOptions{}, {.noise = 0, .tau_end = 2}), 1, 20, 20, 40), observe(H2o(RetentionOptions{}), 1, 20, 20, 40)) << "tau is 1 in the prompt";
  const std::vector<float> noisy = observe(Keyformer(RetentionOptions{}), 1, 60, 20, 40);
  EXPECT_EQ(noisy, observe(Keyformer(RetentionOptions{}), 1, 60, 20, 40)) << "the noise is the seed's";
  EXPECT_NE(noisy, observe(Keyformer(RetentionOptions{}), 2, 60, 20, 40));
  EXPECT_NEAR(std::accumulate(noisy.begin(), noisy.end(), 0.0), 60, 1e-3) << "each row still gives 1";
}

// Softmax of equal logits with Gumbel noise: the largest is uniform, and a token's expected share is what it was.
TEST(KvRetention, NoiseIsGumbel) {
  const Keyformer policy(RetentionOptions{}, {.noise = 1, .tau_end = 1});
  std::vector<float> scores(2);
  const std::vector<float> logits = {0.0f, std::log(3.0f)};
  const std::vector<int32_t> positions = {0, 1};
  int second_wins = 0;
  constexpr int kRows = 20000;
  for (int r = 0; r < kRows; ++r) {
    std::vector<float> one(2);
    policy.observe({logits, positions, r, kRows, 1, 5, 0, 0}, one);
    second_wins += one[1] > one[0];
  }
  // Gumbel-max: an argmax of logits with such noise is a draw from their softmax.
  EXPECT_NEAR(second_wins / static_cast<double>(kRows), 0.75, 0.01);
}

TEST(KvRetention, RefusesByNameWhatMakesNoSense) {
  const auto refused = [](std::string_view name, const RetentionOptions& o) {
    const auto made = make_retention(name, o);
    return made.ok() ? std::string() : made.error().message;
  };
  EXPECT_NE(refused("h20", {}).find("it knows: none, sink-window"), std::string::npos);
  EXPECT_NE(refused("h2o", {}).find("--kv-retention-budget"), std::string::npos);
  EXPECT_NE(refused("h2o", {.budget_tokens = 64, .prompt_share = 0.5}).find("either"), std::string::npos);
  EXPECT_NE(refused("h2o", {.budget_tokens = 11}).find("at least 8"), std::string::npos);
  EXPECT_NE(refused("h2o", {.budget_tokens = 64, .sinks = 1}).find("--kv-retention-sinks has no use"), std::string::npos);
  EXPECT_NE(refused("sink-window", {.budget_tokens = 64, .recent_share = 0.5}).find("--kv-retention-recent has no use"), std::string::npos);
  EXPECT_NE(refused("sink-window", {.budget_tokens = 64, .stride_tokens = 31}).find("--kv-retention-stride"), std::string::npos);
  EXPECT_NE(refused("keyformer", {.prompt_share = 1.5}).find("--kv-retention-share"), std::string::npos);
  EXPECT_NE(refused("none", {.budget_tokens = 64}).find("lets go of nothing"), std::string::npos);
  for (const RetentionEntry& entry : retention_catalog()) EXPECT_EQ(refused(entry.name, {.budget_tokens = entry.name == "none" ? 0 : 64}), "");
}

}  // namespace
}  // namespace sluice
