// Virtual token counters keep their bound at all times: of two clients that always wait, neither gets more than
// 2 max(w_p * longest input, w_q * tokens of a batch) of weighted service ahead, in any span of time, under random schedules with
// preemptions, and no seat stays empty for it.

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "base/rng.h"
#include "engine/engine.h"
#include "kv/prefix/prefix_cache.h"
#include "kv/allocator/kv_allocator.h"
#include "sched/chunk/catalog.h"
#include "sched/gate/catalog.h"
#include "sched/parallel_sampling.h"
#include "sched/preempt/catalog.h"
#include "sched/queue/vtc.h"
#include "tests/support/shadow_executor.h"

namespace sluice {
namespace {

/// Counts service as the paper does, and for each pair of clients how far one got ahead of the other while both waited.
struct ServiceMeter : SequenceObserver {
  explicit ServiceMeter(ClientWeights weights) : weights(std::move(weights)) {}

  double weight(const std::string& client) const {
    const auto it = weights.find(client);
    return it == weights.end() ? 1 : it->second;
  }
  void on(const Event& e) override {
    if (e.kind == Event::Kind::arrived) owner[e.seq] = {next_client(), e.tokens}, ++waiting[owner[e.seq].first];
    auto& [client, input] = owner[e.seq];
    if (e.kind == Event::Kind::admitted) {
      --waiting[client];
      service[client] += Vtc::kInputWeight * input / weight(client);
      input = 0;
    } else if (e.kind == Event::Kind::preempted) {
      ++waiting[client];
    } else if (e.kind == Event::Kind::sampled) {
      service[client] += Vtc::kOutputWeight * e.tokens / weight(client);
    }
    for (const auto& [a, a_waits] : waiting)
      for (const auto& [b, b_waits] : waiting) {
        if (a >= b) continue;
        const double ahead = service[a] - service[b];
        auto& [low, high, both] = pairs[{a, b}];
        if (!both || a_waits == 0 || b_waits == 0) low = high = ahead;
        both = a_waits > 0 && b_waits > 0;
        low = std::min(low, ahead);
        high = std::max(high, ahead);
        if (both) worst = std::max(worst, high - low), ++looked;
      }
  }
  std::string next_client() { return arrivals.at(arrived++); }

  ClientWeights weights;
  std::vector<std::string> arrivals;  // whose the arrivals are, in their order
  size_t arrived = 0;
  std::map<SeqId, std::pair<std::string, int>> owner;  // client, input not counted yet
  std::map<std::string, int> waiting;
  std::map<std::string, double> service;
  struct Span { double low = 0, high = 0; bool both = false; };
  std::map<std::pair<std::string, std::string>, Span> pairs;
  double worst = 0;
  uint64_t looked = 0;
};

TEST(Fairness, NoClientGetsFurtherAheadThanTheBound) {
  uint64_t preemptions = 0, looked = 0;
  double closest = 0;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    Rng rng(seed);
    const int block_tokens = 4, blocks = static_cast<int>(rng.between(24, 80)), seqs = static_cast<int>(rng.between(1, 6));
    const int longest_input = static_cast<int>(rng.between(4, 40)), longest_output = static_cast<int>(rng.between(1, 40));
    const ClientWeights weights = rng.below(2) == 0 ? ClientWeights{} : ClientWeights{{"a", 2}, {"b", 0.5}};
    VirtualClock clock;
    test::ShadowExecutor executor(blocks, block_tokens, 9, clock);
    auto pool = std::make_unique<BlockPool>(blocks, block_tokens);
    auto cache = prefix_cache_catalog()[0].make(*pool);
    SchedulerPolicies policies;
    policies.queue = std::make_unique<Vtc>(weights);
    policies.chunk = chunk_catalog()[rng.below(2)].make({64, 0});
    policies.gates = make_gates(batching_catalog()[0], admission_catalog()[0], {.prefix_cache = false});
    policies.preempt = preempt_catalog()[0].make(*policies.queue);
    policies.branching = std::make_unique<ParallelSampling>();
    policies.allocator = kv_allocator_catalog()[0].make({block_tokens, longest_input + longest_output});
    EngineConfig config;
    config.scheduler = {seqs, 64, longest_input + longest_output};
    config.kv_blocks = blocks;
    config.block_tokens = block_tokens;
    Engine engine(config, std::move(pool), std::move(cache), std::move(policies), executor, clock);
    ServiceMeter meter(weights);
    engine.observe(&meter);
    const auto add = [&](const char* client) {
      Request r;
      r.client = client;
      for (int64_t i = rng.between(1, longest_input); i > 0; --i) r.prompt.push_back(static_cast<TokenId>(rng.below(9)));
      r.max_tokens = static_cast<int>(rng.between(1, longest_output));
      r.ignore_eos = true;
      meter.arrivals.emplace_back(client);
      ASSERT_TRUE(engine.add(std::move(r), [](const Output&) {}).ok());
    };
    for (int i = 0; i < 60; ++i) add("a"), add("b");
    for (int step = 0; engine.step(); ++step) {
      if (step < 400 && rng.below(40) == 0) add("c");  // comes and goes, and gains nothing by it
      if (step == 300)
        for (int i = 0; i < 20; ++i) add("d");  // was away for long
    }
    // A batch holds at most what its sequences and the cache hold.
    const int batch_tokens = std::min(blocks * block_tokens, seqs * (longest_input + longest_output));
    const double least_weight = weights.empty() ? 1 : 0.5;
    const double bound = 2 * std::max(Vtc::kInputWeight * longest_input, Vtc::kOutputWeight * batch_tokens) / least_weight;
    EXPECT_LE(meter.worst, bound) << "seed " << seed;
    closest = std::max(closest, meter.worst / bound);
    preemptions += engine.stats().preemptions;
    looked += meter.looked;
  }
  EXPECT_GT(preemptions, 100u);
  EXPECT_GT(looked, 100'000u);
  EXPECT_GT(closest, 0.2) << "the bound was never tried";
}

/// Which client each request is of that the first step lets in; all of a's came before b's.
std::map<std::string, int> seats_of_first_step(const ClientWeights& weights, int seats, std::string_view batching, const ChunkPolicyEntry& chunk) {
  constexpr int kBlocks = 256, kPrompt = 6;
  VirtualClock clock;
  test::ShadowExecutor executor(kBlocks, 4, 9, clock);
  auto pool = std::make_unique<BlockPool>(kBlocks, 4);
  auto cache = prefix_cache_catalog()[0].make(*pool);
  SchedulerPolicies policies;
  policies.queue = std::make_unique<Vtc>(weights);
  policies.chunk = chunk.make({64, 0});
  const auto entry = std::ranges::find(batching_catalog(), batching, &BatchingEntry::name);
  policies.gates = make_gates(*entry, admission_catalog()[0], {.prefix_cache = false});
  policies.preempt = preempt_catalog()[0].make(*policies.queue);
  policies.branching = std::make_unique<ParallelSampling>();
  policies.allocator = kv_allocator_catalog()[0].make({4, 64});
  EngineConfig config;
  config.scheduler = {seats, 64, 64};
  config.kv_blocks = kBlocks;
  config.block_tokens = 4;
  Engine engine(config, std::move(pool), std::move(cache), std::move(policies), executor, clock);
  std::map<std::string, int> started;
  for (const char* client : {"a", "b"})
    for (int i = 0; i < 20; ++i) {
      Request r;
      r.client = client;
      r.prompt.assign(kPrompt, static_cast<TokenId>(i % 9));
      r.max_tokens = 8;
      r.ignore_eos = true;
      EXPECT_TRUE(engine.add(std::move(r), [&started, client](const Output&) { ++started[client]; }).ok());
    }
  engine.step();
  return started;
}

TEST(Fairness, ClientsShareTheFreeSeatsOfOneStep) {
  using Seats = std::map<std::string, int>;
  for (const std::string_view batching : {"continuous", "static"})
    for (const ChunkPolicyEntry& chunk : chunk_catalog()) {
      SCOPED_TRACE(fmt::format("{}, {}", batching, chunk.name));
      EXPECT_EQ(seats_of_first_step({}, 8, batching, chunk), (Seats{{"a", 4}, {"b", 4}}));
      EXPECT_EQ(seats_of_first_step({{"a", 2}}, 9, batching, chunk), (Seats{{"a", 6}, {"b", 3}}));
      EXPECT_EQ(seats_of_first_step({{"b", 2}}, 9, batching, chunk), (Seats{{"a", 3}, {"b", 6}}));
    }
}

TEST(Fairness, MeterSeesWhatFirstComeFirstServedDoes) {
  // The observer itself: a client that sends ten times as much in one go is far ahead under fcfs.
  ServiceMeter meter({});
  meter.arrivals = {"a", "a", "a", "b"};
  for (SeqId id = 1; id <= 4; ++id) meter.on({Event::Kind::arrived, id, 100});
  meter.on({Event::Kind::admitted, 1});
  meter.on({Event::Kind::admitted, 2});
  EXPECT_EQ(meter.worst, 200);
}

}  // namespace
}  // namespace sluice
