#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <fstream>

#include "sched/length/buckets.h"
#include "sched/length/catalog.h"
#include "sched/length/retrained_buckets.h"
#include "sched/length/running_mean.h"

namespace sluice {
namespace {

Request request_of(int prompt_tokens, int max_tokens, std::string client = {}) {
  Request r;
  r.prompt.assign(static_cast<size_t>(prompt_tokens), 1);
  r.max_tokens = max_tokens;
  r.client = std::move(client);
  return r;
}

TEST(LengthPredictor, StaysWithinWhatTheRequestAllows) {
  for (const LengthPredictorEntry& entry : length_predictor_catalog()) {
    const auto predictor = entry.make();
    for (const int prompt : {1, 2, 3, 17, 400, 5000, 1'000'000})
      for (const int most : {1, 7, 300, 100'000}) {
        const int guess = predictor->predict(request_of(prompt, most));
        EXPECT_GE(guess, 1) << entry.name;
        EXPECT_LE(guess, most) << entry.name;
      }
  }
}

TEST(Buckets, EndAtPowersOfTwo) {
  const std::pair<int, int> want[] = {{0, 0}, {1, 0}, {4, 0}, {5, 1}, {8, 1}, {9, 2}, {1024, 8}, {1025, 9}, {1 << 30, 9}};
  for (const auto& [tokens, bucket] : want) EXPECT_EQ(Buckets::bucket_of(tokens), bucket) << tokens;
}

// Prompt and output tokens.
std::vector<std::pair<int, int>> read_trace(const std::string& name) {
  std::ifstream file(SLUICE_SOURCE_DIR "/tests/data/traces/" + name);
  std::vector<std::pair<int, int>> trace;
  std::string line;
  for (std::getline(file, line); std::getline(file, line);) {
    int prompt = 0, output = 0;
    if (std::sscanf(line.c_str(), "%*[^,],%d,%d", &prompt, &output) == 2) trace.emplace_back(prompt, output);
  }
  return trace;
}

template <class Predictor>
void finish(Predictor& predictor, SeqId id, Request request, int tokens) {
  Sequence seq;
  seq.id = id;
  seq.request = std::make_shared<const Request>(std::move(request));
  predictor.on_new(seq);
  predictor.on({Event::Kind::finished, seq.id, tokens});
}

// What tools/train_length_buckets.py said of the requests that it held out.
TEST(Buckets, AreAsAccurateAsTheirTrainingSaid) {
  const auto trace = read_trace("azure_conv_2023.csv");
  ASSERT_GT(trace.size(), 10'000u);
  int held_out = 0, exact = 0, near = 0;
  const auto start = std::chrono::steady_clock::now();
  for (size_t i = 0; i < trace.size(); i += 5) {
    const int off = Buckets::predicted_bucket(trace[i].first) - Buckets::bucket_of(trace[i].second);
    ++held_out;
    exact += off == 0;
    near += std::abs(off) <= 1;
  }
  const double ns = static_cast<double>((std::chrono::steady_clock::now() - start).count()) / held_out;
  std::printf("%d held-out requests: %.2f %% in the predicted bucket, %.2f %% in it or one beside it; %.0f ns each\n", held_out,
              100.0 * exact / held_out, 100.0 * near / held_out, ns);
  EXPECT_NEAR(1.0 * exact / held_out, 0.7305, 0.0001);
  EXPECT_NEAR(1.0 * near / held_out, 0.9357, 0.0001);
}

// Each request predicted, then ended: on the service that the table was trained for retraining costs nothing much, on
// another one it corrects the table.
TEST(RetrainedBuckets, CorrectTheTableOnAServiceThatItDoesNotKnow) {
  const auto accuracies = [](const std::string& name) {
    RetrainedBuckets retrained;
    int n = 0, by_table = 0, by_retraining = 0;
    for (const auto& [prompt, output] : read_trace(name)) {
      const int truth = Buckets::bucket_of(output);
      by_table += Buckets::predicted_bucket(prompt) == truth;
      by_retraining += retrained.predicted_bucket(prompt) == truth;
      finish(retrained, static_cast<SeqId>(++n), request_of(prompt, 1 << 20), output);
    }
    std::printf("%s, %d requests in the predicted bucket: %.2f %% by the table, %.2f %% retrained\n", name.c_str(), n,
                100.0 * by_table / n, 100.0 * by_retraining / n);
    return std::pair(1.0 * by_table / n, 1.0 * by_retraining / n);
  };
  const auto [conv_table, conv_retrained] = accuracies("azure_conv_2023.csv");
  EXPECT_GT(conv_retrained, conv_table - 0.02);
  const auto [code_table, code_retrained] = accuracies("azure_code_2023.csv");
  EXPECT_GT(code_retrained, code_table + 0.05);
}

TEST(RunningMean, LearnsEachClientAndGuessesNewOnesByAll) {
  RunningMean mean;
  SeqId next = 1;
  const auto finished = [&](const std::string& client, int tokens) { finish(mean, next++, request_of(8, 1000, client), tokens); };
  EXPECT_EQ(mean.predict(request_of(8, 777, "a")), 777) << "nothing is known yet";
  for (int i = 0; i < 100; ++i) finished("a", 40), finished("b", 200);
  EXPECT_EQ(mean.predict(request_of(8, 1000, "a")), 40);
  EXPECT_EQ(mean.predict(request_of(8, 1000, "b")), 200);
  EXPECT_EQ(mean.predict(request_of(8, 100, "b")), 100);
  EXPECT_NEAR(mean.predict(request_of(8, 1000, "c")), 120, 5);
  finished("a", 0);  // cancelled while it waited
  EXPECT_EQ(mean.predict(request_of(8, 1000, "a")), 40);
  Request search = request_of(8, 1000, "a");
  search.beam_width = 4;
  for (int i = 0; i < 100; ++i) finish(mean, next++, search, 3);
  EXPECT_EQ(mean.predict(request_of(8, 1000, "a")), 40) << "beams that were dropped are no lengths";
  for (int i = 0; i < 200; ++i) finished("a", 400);
  EXPECT_NEAR(mean.predict(request_of(8, 1000, "a")), 400, 4) << "what is recent counts more";
}

}  // namespace
}  // namespace sluice
