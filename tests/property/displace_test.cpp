// What a waiting sequence may do to running ones that it outranks: take their seats and blocks, as many as it needs and only if that
// is enough. Random schedules try the same in schedule_property_test.

#include <gtest/gtest.h>

#include "engine/engine.h"
#include "kv/allocator/kv_allocator.h"
#include "sched/chunk/catalog.h"
#include "sched/gate/catalog.h"
#include "sched/parallel_sampling.h"
#include "sched/preempt/lowest_priority.h"
#include "sched/queue/priority_aging.h"
#include "tests/support/shadow_executor.h"

namespace sluice {
namespace {

struct House {
  House(int seats, int blocks, const char* chunk = "stall-free", Nanos aging = 1'000'000'000'000) : executor(blocks, 4, 50, clock) {
    auto pool = std::make_unique<BlockPool>(blocks, 4);
    auto cache = prefix_cache_catalog()[0].make(*pool);
    SchedulerPolicies policies;
    policies.queue = std::make_unique<PriorityAging>(aging);
    policies.chunk = std::ranges::find(chunk_catalog(), chunk, &ChunkPolicyEntry::name)->make({64, 0});
    policies.gates = make_gates(batching_catalog()[0], admission_catalog()[0], {.watermark = 0});
    policies.preempt = std::make_unique<LowestPriority>(*policies.queue);
    policies.branching = std::make_unique<ParallelSampling>();
    policies.allocator = kv_allocator_catalog()[0].make({4, 4 * blocks});
    EngineConfig config;
    config.scheduler = {seats, 64, 4 * blocks};
    config.kv_blocks = blocks;
    config.block_tokens = 4;
    engine = std::make_unique<Engine>(config, std::move(pool), std::move(cache), std::move(policies), executor, clock);
  }
  /// Of distinct tokens, so that nothing is shared, unless `first` is given again.
  void add(int priority, int first, int prompt_tokens, int max_tokens) {
    Request r;
    r.priority = priority;
    for (int i = 0; i < prompt_tokens; ++i) r.prompt.push_back((first + i) % 50);
    r.max_tokens = max_tokens;
    r.ignore_eos = true;
    clock.advance_to(clock.now() + 1);
    const auto id = engine->add(r, [this, priority, r](const Output& out) {
      for (const SampledToken& t : out.tokens) outputs[priority].push_back(t.token);
      if (!out.request_done) return;
      EXPECT_EQ(outputs[priority], test::ShadowExecutor::expected(r, 0, 50, 1000));
    });
    ASSERT_TRUE(id.ok()) << id.error().message;
  }
  void step() {
    engine->step();
    std::string why;
    ASSERT_TRUE(engine->consistent(&why)) << why;
  }
  void finish() {
    while (engine->step()) {
    }
  }

  VirtualClock clock;
  test::ShadowExecutor executor;
  std::unique_ptr<Engine> engine;
  std::map<int, std::vector<TokenId>> outputs;  // by priority: one request of each
};

TEST(Displace, AnUrgentRequestTakesTheSeatOfTheLowestClassInTheNextStep) {
  for (const ChunkPolicyEntry& chunk : chunk_catalog()) {
    SCOPED_TRACE(std::string(chunk.name));
    const uint64_t displaced = chunk.name == "decode-first" ? 2 : 1;  // there no prompt is computed beside a decode
    House house(2, 64, chunk.name.data());
    house.add(1, 0, 8, 20);
    house.add(2, 10, 8, 20);
    for (int i = 0; i < 3; ++i) house.step();
    const size_t before = house.outputs[2].size();
    house.add(0, 20, 8, 5);
    house.step();
    EXPECT_EQ(house.outputs[0].size(), 1u) << "it starts in this very step";
    EXPECT_EQ(house.outputs[2].size(), before) << "in the place of the lowest class";
    EXPECT_EQ(house.engine->stats().preemptions, displaced);
    house.finish();
    EXPECT_EQ(house.engine->stats().finished_requests, 3u);
    EXPECT_EQ(house.engine->stats().preemptions, displaced);
  }
}

TEST(Displace, AsManyGiveWayAsItNeedsBlocks) {
  House house(8, 24);
  house.add(1, 0, 24, 4);
  house.add(2, 10, 24, 4);
  house.add(3, 20, 24, 4);
  house.step();
  ASSERT_EQ(house.engine->stats().running, 3);
  house.add(0, 30, 28, 4);  // seven blocks; four are free, and each of the others holds as many or more
  house.step();
  EXPECT_EQ(house.outputs[0].size(), 1u);
  EXPECT_EQ(house.engine->stats().running, 3) << "of three, one gave way";
  EXPECT_EQ(house.engine->stats().preemptions, 1u);
  house.finish();
  EXPECT_EQ(house.engine->stats().finished_requests, 4u);
}

TEST(Displace, NobodyGivesWayInVain) {
  House house(8, 24);
  house.add(0, 0, 60, 8);  // its class is not outranked, and it has most of the blocks
  house.step();
  house.add(2, 20, 8, 8);
  house.step();
  ASSERT_EQ(house.engine->stats().running, 2);
  house.add(1, 30, 70, 4);
  house.step();
  EXPECT_EQ(house.engine->stats().preemptions, 0u) << "even all of the lower class would not be enough";
  EXPECT_EQ(house.engine->stats().running, 2);
  house.finish();
  EXPECT_EQ(house.engine->stats().finished_requests, 3u);
}

TEST(Displace, WhatTheVictimHadComputedIsFoundInTheCache) {
  // The urgent request has the victim's prompt: its hit takes the very blocks that the victim gives up.
  House house(8, 10);
  house.add(2, 0, 32, 8);
  for (int i = 0; i < 3; ++i) house.step();
  house.add(0, 0, 36, 4);
  house.step();
  EXPECT_EQ(house.engine->stats().preemptions, 1u);
  house.finish();
  EXPECT_EQ(house.engine->stats().finished_requests, 2u);
  EXPECT_GE(house.engine->stats().prefix_hits_tokens, 32u);
}

TEST(Displace, MemoryDoesNotTakeBackWhatWaitingHasGiven) {
  // Both grow until there are too few blocks. Who goes first in the queue's order gets a token in every step.
  for (const auto& [aging, first] : {std::pair<Nanos, int>{100, 1}, {1'000'000'000'000, 0}}) {
    SCOPED_TRACE(fmt::format("aging {}", aging));
    House house(2, 10, "stall-free", aging);
    house.add(1, 0, 8, 20);
    house.step();
    ASSERT_GT(house.clock.now(), 100) << "the first is older than its aging";
    house.add(0, 20, 8, 20);
    house.step();
    ASSERT_EQ(house.engine->stats().running, 2);
    for (size_t had = house.outputs[first].size(); had < 20; had = house.outputs[first].size()) {
      house.step();
      ASSERT_EQ(house.outputs[first].size(), had + 1);
    }
    EXPECT_GE(house.engine->stats().preemptions, 1u) << "the other gave way";
    house.finish();
    EXPECT_EQ(house.engine->stats().finished_requests, 2u);
  }
}

}  // namespace
}  // namespace sluice
