// Every combination of policies, in the simulator: it is refused where the table says so, or else serves a random load to
// the same outputs as every other one, with the books right after every step.

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "base/rng.h"
#include "engine/build_engine.h"
#include "engine/combinations.h"
#include "kv/allocator/kv_allocator.h"
#include "sched/chunk/catalog.h"
#include "sched/preempt/catalog.h"
#include "sched/queue/catalog.h"
#include "sim/replay.h"
#include "sim/sim_executor.h"

namespace sluice {
namespace {

using Outputs = std::map<std::pair<size_t, int>, std::vector<TokenId>>;

std::vector<Request> random_load() {
  Rng rng(17);
  std::vector<Request> load;
  std::vector<TokenId> prefix(40);
  for (TokenId& t : prefix) t = static_cast<TokenId>(rng.below(1000));
  for (int i = 0; i < 24; ++i) {
    Request r;
    if (i % 3 == 0) r.prompt = prefix;
    const int own = static_cast<int>(rng.between(1, 60));
    for (int k = 0; k < own; ++k) r.prompt.push_back(static_cast<TokenId>(rng.below(1000)));
    r.max_tokens = static_cast<int>(rng.between(1, 40));
    r.ignore_eos = true;
    r.n = i % 7 == 6 ? 3 : 1;
    r.priority = static_cast<int>(rng.below(3));
    r.client = i % 2 == 0 ? "a" : "b";
    r.sampling.seed = static_cast<uint64_t>(i);
    load.push_back(std::move(r));
  }
  return load;
}

/// A pool in which some have to give way.
EngineOptions small_engine() {
  EngineOptions o;
  o.kv_blocks = 48;
  o.block_tokens = 8;
  o.max_model_len = 160;
  o.max_num_seqs = 8;
  o.max_num_batched_tokens = 64;
  o.max_queue_delay_ms = 0;
  return o;
}

Outputs serve(const EngineOptions& options, const std::vector<Request>& load) {
  VirtualClock clock;
  SimExecutor executor(StepCost::built_in(), clock);
  EngineOptions with_times = options;
  with_times.step_time = std::make_shared<CostStepTime>(StepCost::built_in());
  const auto engine = build_engine(with_times, executor, clock);
  EXPECT_TRUE(engine.ok()) << engine.error().message;
  if (!engine.ok()) return {};
  Outputs outputs;
  ReplayHooks hooks;
  hooks.output = [&](size_t request, const Output& out) {
    EXPECT_NE(out.finish, FinishReason::error) << out.error;
    for (const SampledToken& t : out.tokens) outputs[{request, out.sample}].push_back(t.token);
  };
  hooks.stepped = [&] {
    std::string why;
    ASSERT_TRUE((*engine)->consistent(&why)) << why;
  };
  std::vector<Nanos> arrivals;
  for (size_t i = 0; i < load.size(); ++i) arrivals.push_back(static_cast<Nanos>(i / 4) * 200'000'000);
  replay(**engine, load, arrivals, {clock, [&](Nanos t) { clock.advance_to(t); }}, hooks);
  const EngineStats stats = (*engine)->stats();
  EXPECT_EQ(stats.free_blocks + stats.cached_idle_blocks, stats.total_blocks) << "blocks leaked";
  return outputs;
}

/// Calls `visit` with every combination of the catalogs' names.
void for_each_combination(auto&& visit) {
  EngineOptions o = small_engine();
  for (const auto& queue : queue_catalog())
    for (const auto& chunk : chunk_catalog())
      for (const auto& batching : batching_catalog())
        for (const auto& admission : admission_catalog())
          for (const auto& preempt : preempt_catalog())
            for (const auto& cache : prefix_cache_catalog())
              for (const auto& allocator : kv_allocator_catalog()) {
              o.kv_allocator = allocator.name;
              o.scheduling_policy = queue.name, o.chunk_policy = chunk.name, o.batching = batching.name;
              o.admission_policy = admission.name, o.preemption_policy = preempt.name, o.prefix_cache = cache.name;
              visit(o);
            }
}

template <class F>
void with_every_policy(const F& with) {
  with(&EngineOptions::scheduling_policy, queue_catalog());
  with(&EngineOptions::chunk_policy, chunk_catalog());
  with(&EngineOptions::batching, batching_catalog());
  with(&EngineOptions::admission_policy, admission_catalog());
  with(&EngineOptions::preemption_policy, preempt_catalog());
  with(&EngineOptions::prefix_cache, prefix_cache_catalog());
  with(&EngineOptions::kv_allocator, kv_allocator_catalog());
}

TEST(Combinations, AllServeOrAreRefused) {
  const std::vector<Request> load = random_load();
  const Outputs reference = serve(small_engine(), load);
  ASSERT_EQ(reference.size(), 24u + 3 * 2);
  int served = 0, refused = 0;
  for_each_combination([&](const EngineOptions& o) {
    if (::testing::Test::HasFailure()) return;
    SCOPED_TRACE(fmt::format("{}, {}, {}, {}, {}, {}, {}", o.kv_allocator, o.scheduling_policy, o.chunk_policy, o.batching, o.admission_policy, o.preemption_policy, o.prefix_cache));
    if (const Status allowed = check_combinations(o); !allowed.ok()) {
      const Status built = check_engine_options(o);
      ASSERT_FALSE(built.ok());
      EXPECT_EQ(built.error().message, allowed.error().message);
      ++refused;
      return;
    }
    ASSERT_EQ(serve(o, load), reference);
    ++served;
  });
  EXPECT_GT(served, 100);
  RecordProperty("served", served);
  RecordProperty("refused", refused);
}

/// Pair by pair, the others as they are by default: with all of them the walk above would take five times as long.
TEST(Combinations, KvRetentionWithEveryOtherChoice) {
  const std::vector<Request> load = random_load();
  const Outputs reference = serve(small_engine(), load);
  int served = 0, refused = 0;
  for (const RetentionEntry& policy : retention_catalog()) {
    const auto with = [&](std::string EngineOptions::*option, const auto& catalog) {
      for (const auto& entry : catalog) {
        SCOPED_TRACE(fmt::format("{} with {}", policy.name, entry.name));
        EngineOptions o = small_engine();
        o.kv_retention = policy.name;
        if (policy.make({})->evicts()) o.retention.budget_tokens = 24;
        o.*option = entry.name;
        if (const Status allowed = check_combinations(o); !allowed.ok()) {
          EXPECT_FALSE(check_engine_options(o).ok());
          ++refused;
          continue;
        }
        ASSERT_EQ(serve(o, load), reference);
        EXPECT_EQ(policy.make({})->evicts() && o.prefix_cache != "none", !fallbacks(o).empty() && fallbacks(o).back().starts_with("--kv-retention"));
        ++served;
      }
    };
    with_every_policy(with);
    if (HasFailure()) return;
  }
  EXPECT_GT(served, 60);
  EXPECT_GE(refused, 4 * 6);
  EngineOptions o = small_engine();
  o.kv_retention = "h2o";
  o.retention.budget_tokens = 24;
  o.disk_blocks = 100;
  EXPECT_FALSE(check_engine_options(o).ok()) << "tiers would keep what depends on more than tokens";
}

/// What a model, a KV format and the tiers ask of the scheduler, with every choice of every policy, and with each other.
TEST(Combinations, WhatMemoryIsMadeOfWithEveryChoice) {
  const std::vector<Request> load = random_load();
  const Outputs reference = serve(small_engine(), load);
  using Feature = void (*)(EngineOptions&);
  const std::pair<const char*, Feature> features[] = {
      {"a host tier", [](EngineOptions& o) { o.host_blocks = 40, o.kv_restore = "load"; }},
      {"a small host tier, cheapest first", [](EngineOptions& o) { o.host_blocks = 9; }},
      {"a host tier and a disk", [](EngineOptions& o) { o.host_blocks = 12, o.disk_blocks = 60, o.kv_restore = "load"; }},
      {"blocks that are sealed (block formats, recurrent states)", [](EngineOptions& o) { o.seals_blocks = true; }},
      {"few pages for layers that read the last tokens only", [](EngineOptions& o) { o.recent = {24, 2 * o.block_tokens}; }},
      {"formats of two layers", [](EngineOptions& o) { o.seals_blocks = o.ends_at_blocks = true; }},
  };
  int served = 0, refused = 0;
  const auto walk = [&](auto& add) {
    const auto with = [&](std::string EngineOptions::*option, const auto& catalog) {
      for (const auto& entry : catalog) {
        EngineOptions o = small_engine();
        add(o);
        o.*option = entry.name;
        SCOPED_TRACE(std::string(entry.name));
        if (const Status allowed = check_engine_options(o); !allowed.ok()) {
          EXPECT_FALSE(allowed.error().message.empty());
          ++refused;
          continue;
        }
        ASSERT_EQ(serve(o, load), reference);
        ++served;
      }
    };
    with_every_policy(with);
    with(&EngineOptions::kv_tier_policy, tier_policy_catalog());
    with(&EngineOptions::kv_retention, retention_catalog());
  };
  for (size_t one = 0; one < std::size(features); ++one) {
    for (size_t other = one; other < std::size(features); ++other) {  // each pair once, and each alone
      SCOPED_TRACE(fmt::format("{} and {}", features[one].first, features[other].first));
      const auto add = [&](EngineOptions& o) { features[one].second(o), features[other].second(o); };
      walk(add);
      if (HasFailure()) return;
    }
  }
  EXPECT_GT(served, 300);
  std::printf("%d served, %d refused\n", served, refused);
}

TEST(Combinations, TheTableNamesWhatThereIs) {
  const auto known = [](const ChosenPolicy& c) {
    const auto has = [&](const auto& catalog) { return std::ranges::any_of(catalog, [&](const auto& e) { return e.name == c.value; }); };
    if (c.flag == "--scheduling-policy") return has(queue_catalog());
    if (c.flag == "--chunk-policy") return has(chunk_catalog());
    if (c.flag == "--batching") return has(batching_catalog());
    if (c.flag == "--admission-policy") return has(admission_catalog());
    if (c.flag == "--preemption-policy") return has(preempt_catalog());
    if (c.flag == "--prefix-cache") return has(prefix_cache_catalog());
    if (c.flag == "--kv-allocator") return has(kv_allocator_catalog());
    if (c.flag == "--kv-retention") return has(retention_catalog());
    return false;
  };
  for (const Combination& c : combinations()) {
    EXPECT_TRUE(known(c.one)) << c.one.flag << " " << c.one.value;
    EXPECT_TRUE(known(c.other)) << c.other.flag << " " << c.other.value;
    EXPECT_FALSE(c.why.empty());
  }
  EngineOptions o = small_engine();
  o.batching = "static";
  ASSERT_EQ(fallbacks(o).size(), 1u);
  EXPECT_NE(fallbacks(o)[0].find("--batching static with --prefix-cache radix"), std::string::npos);
  o.prefix_cache = "none";
  EXPECT_TRUE(fallbacks(o).empty());
  o.admission_policy = "exact";
  o.max_num_batched_tokens = 4;
  EXPECT_EQ(fallbacks(o).size(), 1u);
}

}  // namespace
}  // namespace sluice
