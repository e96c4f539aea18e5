// Weights that make logits NaN: the requests that meet them end with an error that says so, the others never notice.

#include <gtest/gtest.h>

#include <limits>
#include <map>

#include "engine/build_engine.h"
#include "exec/local_executor.h"
#include "tests/support/memory_source.h"
#include "tests/support/model_harness.h"

namespace sluice {
namespace {

constexpr TokenId kDamagedToken = 7;

/// A random decoder, one value of `tensor` replaced.
std::shared_ptr<TensorSource> damaged(const std::string& tensor, size_t at, float value) {
  const auto source = test::random_decoder({});
  const TensorInfo info = *source->find(tensor);
  std::vector<float> values(static_cast<size_t>(info.shape.elems()));
  std::memcpy(values.data(), source->view(info).data, info.size_bytes);
  values[at] = value;
  source->remove(tensor);
  source->add(tensor, info.shape, values);
  return source;
}

struct Heard {
  std::vector<TokenId> tokens;
  FinishReason finish = FinishReason::none;
  std::string error;
};
using Answers = std::map<std::pair<size_t, int>, Heard>;  // (request, sample)

Answers answers(const std::shared_ptr<TensorSource>& source, const std::vector<Request>& requests) {
  auto loaded = test::LoadedModel::open(source, {}, 2);
  EXPECT_TRUE(loaded.ok()) << loaded.error().message;
  EngineOptions options;
  options.kv_blocks = 40;
  options.block_tokens = 4;
  options.max_model_len = 64;
  auto arena = KvArena::allocate((*loaded)->model->kv(), kKvF32, options.kv_blocks, options.block_tokens);
  LocalExecutor executor(*(*loaded)->model, (*loaded)->ops, std::move(*arena));
  RealClock clock;
  auto engine = build_engine(options, executor, clock);
  EXPECT_TRUE(engine.ok()) << engine.error().message;
  Answers heard;
  // Twice: blocks that held NaN are used again.
  for (int round = 0; round < 2; ++round) {
    heard.clear();
    int done = 0;
    for (size_t i = 0; i < requests.size(); ++i) {
      const auto id = (*engine)->add(requests[i], [&heard, &done, i](const Output& out) {
        Heard& h = heard[{i, out.sample}];
        for (const SampledToken& t : out.tokens) h.tokens.push_back(t.token);
        h.finish = out.finish;
        h.error = out.error;
        done += out.request_done;
      });
      EXPECT_TRUE(id.ok()) << id.error().message;
    }
    while ((*engine)->step()) {
    }
    EXPECT_EQ(done, static_cast<int>(requests.size()));
    std::string why;
    EXPECT_TRUE((*engine)->consistent(&why)) << why;
  }
  return heard;
}

Request request(std::vector<TokenId> prompt, float temperature, int n = 1) {
  Request r;
  r.prompt = std::move(prompt);
  r.max_tokens = 12;
  r.n = n;
  r.sampling.temperature = temperature;
  r.sampling.seed = 5;
  r.sampling.top_k = temperature > 0 ? 20 : 0;
  r.sampling.logit_bias = {{kDamagedToken, -100}};  // never drawn, so met in a prompt only
  return r;
}

TEST(DamagedWeights, OnlyTheRequestsThatMeetThemFail) {
  const std::vector<Request> good = {request({1, 2, 3, 4, 5, 6}, 0), request({8, 9, 10}, 1, 2), request({11}, 0)};
  std::vector<Request> mixed = good;
  mixed.push_back(request({1, 2, 3, 4, 5, kDamagedToken, 6}, 0));
  mixed.push_back(request({kDamagedToken, 9}, 1, 3));
  const Answers alone = answers(test::random_decoder({}), good);
  for (const float value : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    const Answers heard = answers(damaged("model.embed_tokens.weight", 64 * kDamagedToken + 3, value), mixed);
    ASSERT_EQ(heard.size(), 4u + 4u);
    for (const auto& [key, h] : heard) {
      if (key.first < good.size()) {
        EXPECT_EQ(h.finish, FinishReason::length);
        EXPECT_EQ(h.tokens, alone.at(key).tokens) << "request " << key.first;
      } else {
        EXPECT_EQ(h.finish, FinishReason::error) << "request " << key.first << ", sample " << key.second;
        EXPECT_TRUE(h.tokens.empty());
        EXPECT_NE(h.error.find("the model's logits are not finite"), std::string::npos) << h.error;
      }
    }
  }
}

TEST(DamagedWeights, AnOverflowIsAnErrorToo) {
  for (const auto& [key, h] : answers(damaged("lm_head.weight", 0, 3e38f), {request({1, 2, 3}, 0), request({4}, 1)}))
    EXPECT_EQ(h.finish, FinishReason::error) << "request " << key.first;
}

}  // namespace
}  // namespace sluice
