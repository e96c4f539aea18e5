// KV that is offloaded to a device that fails: a request ends as it would have, or with an error that says why.

#include <gtest/gtest.h>

#include <map>

#include "backend/op_table.h"
#include "base/rng.h"
#include "engine/build_engine.h"
#include "exec/layered_arena.h"
#include "exec/local_executor.h"
#include "tests/support/failing_io.h"
#include "weights/tensor_source.h"

namespace sluice {
namespace {

struct End {
  std::vector<TokenId> tokens;
  std::string error;
};

std::map<size_t, End> serve(Engine& engine, const std::vector<Request>& requests) {
  std::map<size_t, End> ends;
  for (size_t i = 0; i < requests.size(); ++i)
    EXPECT_TRUE(engine.add(requests[i], [&ends, i](const Output& out) {
      for (const SampledToken& t : out.tokens) ends[i].tokens.push_back(t.token);
      if (out.finish == FinishReason::error) ends[i].error = out.error;
    }).ok());
  while (engine.step()) {
  }
  std::string why;
  EXPECT_TRUE(engine.consistent(&why)) << why;
  return ends;
}

TEST(OffloadFaults, ARequestEndsAsItWouldHaveOrWithAnError) {
  const auto source = open_tensor_source(SLUICE_SOURCE_DIR "/models/stories260K.gguf");
  ASSERT_TRUE(source.ok()) << source.error().message;
  ThreadPool pool(1);
  Ops ops(**select_op_table(""), pool);
  WeightStore weights(*source, ops);
  auto model = build_model(weights, ops);
  ASSERT_TRUE(model.ok()) << model.error().message;
  EngineOptions options;
  options.kv_blocks = 160, options.max_model_len = 400, options.max_num_seqs = 12, options.max_num_batched_tokens = 64;
  options.host_blocks = 40, options.kv_restore = "load";
  Rng rng(8);
  std::vector<TokenId> shared;
  for (int i = 0; i < 100; ++i) shared.push_back(static_cast<TokenId>(rng.below(512)));
  std::vector<Request> requests;
  for (int i = 0; i < 40; ++i) {
    Request r;
    if (i % 3 == 0) r.prompt = shared;
    for (int64_t n = rng.between(1, 120); n > 0; --n) r.prompt.push_back(static_cast<TokenId>(rng.below(512)));
    r.max_tokens = static_cast<int>(rng.between(2, 40));
    r.ignore_eos = true;
    requests.push_back(std::move(r));
  }
  const size_t block_bytes = KvArena::block_bytes((*model)->kv(), kKvF32, options.block_tokens);
  RealClock clock;
  const auto run = [&](std::unique_ptr<KvStore> kv) {
    LocalExecutor executor(**model, ops, std::move(kv), KvTiers::allocate(options.host_blocks, nullptr, block_bytes).value());
    auto engine = build_engine(options, executor, clock);
    EXPECT_TRUE(engine.ok()) << engine.error().message;
    return serve(**engine, requests);
  };
  const auto in_memory = run(open_kv_store((*model)->kv(), kKvF32, {.blocks = options.kv_blocks}).value());
  KvStoreOptions store{.blocks = options.kv_blocks};
  store.offload = {{0, 1, 2, 3, 4}, 0.8, "a device", 1};
  for (const uint64_t one_in : {0, 400, 4000}) {
    SCOPED_TRACE(one_in);
    auto io = std::make_unique<test::FailingIo>(LayeredArena::file_bytes((*model)->kv(), kKvF32, store), 5 + one_in);
    test::FailingIo& device = *io;
    device.fail_one_in(one_in);
    auto arena = LayeredArena::open((*model)->kv(), kKvF32, store, std::move(io));
    ASSERT_TRUE(arena.ok()) << arena.error().message;
    size_t failures = 0;
    std::map<size_t, End> second;
    const auto ends = [&] {
      LocalExecutor executor(**model, ops, std::move(*arena), KvTiers::allocate(options.host_blocks, nullptr, block_bytes).value());
      auto engine = build_engine(options, executor, clock);
      EXPECT_TRUE(engine.ok()) << engine.error().message;
      const auto result = serve(**engine, requests);
      failures = device.failures();
      // The device is well again: nobody finds what it has lost.
      device.fail_one_in(0);
      for (int wave = 0; wave < 2; ++wave) second = serve(**engine, {requests[0], requests[3], requests[6]});
      return result;
    }();
    size_t whole = 0, failed = 0;
    for (const auto& [i, end] : ends) {
      const std::vector<TokenId>& expected = in_memory.at(i).tokens;
      ASSERT_LE(end.tokens.size(), expected.size());
      EXPECT_TRUE(std::equal(end.tokens.begin(), end.tokens.end(), expected.begin())) << "request " << i;
      if (end.error.empty()) {
        EXPECT_EQ(end.tokens.size(), expected.size());
        ++whole;
      } else {
        EXPECT_NE(end.error.find("a device"), std::string::npos) << end.error;
        ++failed;
      }
    }
    EXPECT_EQ(whole + failed, requests.size());
    for (const auto& [i, end] : second) EXPECT_EQ(end.tokens, in_memory.at(3 * i).tokens) << "request " << 3 * i << " again: " << end.error;
    EXPECT_EQ(failures > 0, one_in > 0);
    EXPECT_EQ(failed > 0, one_in > 0);
    EXPECT_TRUE(whole > 0 || one_in == 400);
  }
}

}  // namespace
}  // namespace sluice
