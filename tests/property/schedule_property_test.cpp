// Thousands of random schedules through the real engine, scheduler, policies, pool and prefix caches. After every step the
// books are recounted; every output must equal what the request produces alone.

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "base/rng.h"
#include "engine/combinations.h"
#include "engine/engine.h"
#include "sched/chunk/catalog.h"
#include "sched/gate/catalog.h"
#include "sched/branch_by_request.h"
#include "sched/length/catalog.h"
#include "sched/preempt/catalog.h"
#include "sched/queue/catalog.h"
#include "tests/support/shadow_executor.h"

namespace sluice {
namespace {

using test::ShadowExecutor;

struct EngineSetup {
  int block_tokens, blocks, max_num_seqs, budget, max_model_len;
  const QueuePolicyEntry* queue;
  const ChunkPolicyEntry* chunk;
  const BatchingEntry* batching;
  const PrefixCacheEntry* cache;
  const PreemptPolicyEntry* preempt = &preempt_catalog()[0];
  const AdmissionEntry* admission = &admission_catalog()[0];
  const KvAllocatorEntry* allocator = &kv_allocator_catalog()[0];
  double watermark = 0.01;
  int long_prefill_token_threshold = 0;
  int max_scored_rows = kMaxScoredRows;
  int host_blocks = 0, disk_blocks = 0;
  const TierPolicyEntry* tier = &tier_policy_catalog()[0];
  const RestorePolicyEntry* restore = &restore_catalog()[0];
  int lose_every = 0;
  const RetentionEntry* retention = &retention_catalog()[0];
  RetentionOptions retains = {};
  double slo_ttft_ms = 0;  // random schedules refuse nobody
  Nanos aging = 0;
  ClientWeights weights = {};
  const LengthPredictorEntry* lengths = &length_predictor_catalog()[0];
  ChunkOptions chunks = {};
  Nanos max_queue_delay = 0;
  bool segments = false;  // a store of them, and requests that have some
  int cache_reuse = 0;    // the books are checked then, and not the outputs, which depend on what the cache holds
  bool seals_blocks = false, ends_at_blocks = false;
  RecentKv recent = {};
  std::string text() const {
    return fmt::format(
        "block {} x {}, seqs {}, budget {}, context {}, {}, {}, {}, {}, {}, {}, {}, {}, watermark {}, at most {} at a time and {} "
        "scored, {} host and {} disk blocks, {}, {}, every {}th lost, {} of {} or {} by {}{}{}, {} pages for the last {}",
        block_tokens, blocks, max_num_seqs, budget, max_model_len, queue->name, chunk->name, batching->name,
        cache->name, preempt->name, admission->name, allocator->name, lengths->name, watermark, long_prefill_token_threshold, max_scored_rows,
        host_blocks, disk_blocks, tier->name, restore->name, lose_every, retention->name, retains.budget_tokens, retains.prompt_share, retains.stride_tokens,
        segments ? fmt::format(", segments, {} reused", cache_reuse) : "", ends_at_blocks ? ", blocks are sealed in pairs of layers" : seals_blocks ? ", blocks are sealed" : "", recent.pages, recent.reach);
  }
};

/// The last to come goes first, by a rank that grows older: whatever the catalog holds, ranks that move are tried.
struct LastComeFirst final : QueuePolicy {
  double rank(const Sequence& seq, Nanos now) const override { return static_cast<double>(now - seq.arrival); }
};
constexpr QueuePolicyEntry kMovingRanks{.name = "last-come-first", .help = "", .make = [](const QueueOptions&) -> std::unique_ptr<QueuePolicy> { return std::make_unique<LastComeFirst>(); }};

/// What the ShadowExecutor's clock says.
struct ShadowStepTime final : StepTimeEstimate {
  std::optional<double> step_ns(const StepShape& s) const override { return 1000 + 10 * s.rows; }
};

template <class Entries>
auto pick(Rng& rng, Entries entries) {
  return &entries[rng.below(entries.size())];
}

EngineSetup random_setup(Rng& rng) {
  EngineSetup s;
  constexpr int kSizes[] = {1, 2, 3, 4, 7, 16, 64, 256};
  s.block_tokens = kSizes[rng.below(std::size(kSizes))];
  const int pool_tokens = static_cast<int>(rng.between(24, 400));
  s.blocks = std::max(2, pool_tokens / s.block_tokens);
  s.max_model_len = static_cast<int>(rng.between(8, std::min(200, s.blocks * s.block_tokens)));
  s.max_num_seqs = static_cast<int>(rng.between(1, 12));
  s.budget = static_cast<int>(rng.between(1, 64));
  s.queue = rng.below(4) == 0 ? &kMovingRanks : pick(rng, queue_catalog());
  s.chunk = pick(rng, chunk_catalog());
  s.batching = pick(rng, batching_catalog());
  s.cache = pick(rng, prefix_cache_catalog());
  s.preempt = pick(rng, preempt_catalog());
  s.admission = pick(rng, admission_catalog());
  s.allocator = pick(rng, kv_allocator_catalog());
  if (!s.allocator->make({})->shares()) {  // what goes with it: engine/combinations.cpp
    s.cache = &prefix_cache_catalog().back();
    s.admission = &admission_catalog()[0];
  }
  s.segments = s.allocator->name == "paged" && rng.below(3) == 0;
  if (s.segments && rng.below(4) == 0) s.cache_reuse = static_cast<int>(rng.between(1, 8));
  s.watermark = rng.below(3) == 0 ? 0.3 : rng.below(2) == 0 ? 0 : 0.01;
  s.long_prefill_token_threshold = rng.below(4) == 0 ? static_cast<int>(rng.between(1, 20)) : 0;
  if (rng.below(4) == 0) s.chunks.chunk_tokens = static_cast<int>(rng.between(1, 40));
  if (rng.below(2) == 0) s.chunks.tbt_target = rng.between(900, 1500);
  if (rng.below(2) == 0) s.chunks.forward_tokens = static_cast<int>(rng.between(1, s.budget));
  s.max_queue_delay = rng.below(2) == 0 ? rng.between(1, 20'000) : 0;
  s.max_scored_rows = static_cast<int>(rng.between(1, 40));
  if (rng.below(2) == 0) {
    s.host_blocks = rng.below(2) == 0 ? static_cast<int>(rng.between(1, 2 * s.blocks)) : 0;
    s.disk_blocks = rng.below(2) == 0 ? static_cast<int>(rng.between(1, 4 * s.blocks)) : 0;
    s.tier = pick(rng, tier_policy_catalog());
    s.restore = pick(rng, restore_catalog());
    s.lose_every = rng.below(3) == 0 ? static_cast<int>(rng.between(1, 9)) : 0;
  }
  s.lengths = pick(rng, length_predictor_catalog());
  if (rng.below(4) == 0) {  // with what goes with it: engine/combinations.cpp
    s.retention = pick(rng, retention_catalog().subspan(1));
    s.cache = &prefix_cache_catalog().back();
    s.allocator = &kv_allocator_catalog()[0];
    s.admission = &admission_catalog()[0];
    s.host_blocks = s.disk_blocks = s.lose_every = 0;
    s.segments = false, s.cache_reuse = 0;
    if (s.queue->name == "lpm") s.queue = &queue_catalog()[0];
    if (s.retention->reads_sinks) s.retains.sinks = static_cast<int>(rng.below(5));
    if (rng.below(3) == 0) s.retains.prompt_share = static_cast<double>(rng.between(1, 20)) / 20;
    else s.retains.budget_tokens = static_cast<int>(rng.between(kLeastRetentionBudget + s.retains.sinks, 60));
    if (rng.below(2) == 0) s.retains.stride_tokens = static_cast<int>(rng.between(1, 4));
    // A context beyond the pool, where a sequence never holds all of it.
    if (s.retains.budget_tokens > 0 && s.retains.budget_tokens <= s.blocks * s.block_tokens) s.max_model_len = static_cast<int>(rng.between(8, 300));
  }
  if (rng.below(2) == 0) s.weights = {{"a", 2}, {"b", 0.5}};
  if (s.queue->aging > 0) s.aging = static_cast<Nanos>(rng.between(1, 1000)) * 1'000;
  // What is let go of, and what is reused, is moved within blocks.
  s.seals_blocks = s.retention == &retention_catalog()[0] && !s.segments && s.cache_reuse == 0 && rng.below(2) == 0;
  s.ends_at_blocks = s.seals_blocks && rng.below(2) == 0;
  const bool whole = s.allocator->name != "paged" || s.host_blocks + s.disk_blocks > 0 || s.segments || s.cache_reuse > 0 || s.retention != &retention_catalog()[0];
  if (!whole && rng.below(2) == 0) {
    s.recent.reach = s.seals_blocks ? s.block_tokens + 1 : static_cast<int>(rng.between(1, 40));
    s.recent.pages = static_cast<int>(s.recent.least(1, s.max_model_len, s.budget, s.block_tokens) + static_cast<int64_t>(rng.below(12)));
  }
  return s;
}

EngineSetup plain_setup() {
  return {4, 64, 8, 64, 200, &queue_catalog()[0], &chunk_catalog()[0], &batching_catalog()[0], &prefix_cache_catalog()[0]};
}

struct World {
  World(const EngineSetup& s, int vocab) : setup(s), vocab(vocab), executor(s.blocks, s.block_tokens, vocab, clock) {
    auto pool = std::make_unique<BlockPool>(s.blocks, s.block_tokens, s.recent);
    auto cache = s.cache->make(*pool);
    if (s.segments) cache = std::make_unique<SegmentCache>(std::move(cache), *pool, s.cache_reuse > 0);
    SchedulerPolicies policies;
    policies.lengths = s.lengths->make();
    policies.queue = s.queue->make({.aging = s.aging, .cache = cache.get(), .lengths = policies.lengths.get(), .weights = s.weights});
    policies.step_time = std::make_shared<ShadowStepTime>();
    ChunkOptions chunks = s.chunks;
    chunks.token_budget = s.budget;
    chunks.step_time = policies.step_time.get();
    policies.chunk = s.chunk->make(chunks);
    policies.allocator = s.allocator->make({s.block_tokens, s.max_model_len});
    policies.gates = make_gates(*s.batching, *s.admission, {s.watermark, s.cache->name != "none", policies.allocator->grows(), s.budget >= s.max_num_seqs, s.max_num_seqs, s.max_queue_delay, policies.lengths.get()});
    policies.preempt = s.preempt->make(*policies.queue);
    policies.branching = std::make_unique<BranchByRequest>(s.max_model_len);
    policies.tier = s.tier->make();
    policies.restore = s.restore->make();
    auto retention = make_retention(s.retention->name, s.retains);
    EXPECT_TRUE(retention.ok()) << retention.error().message;
    policies.retention = std::move(*retention);
    if (policies.retention->evicts()) executor.retention = policies.retention;
    executor.lose_every = s.lose_every;
    executor.recent = s.recent;
    executor.seals_blocks = s.seals_blocks;
    executor.most_open = 2 * s.max_num_seqs + s.budget / s.block_tokens;  // exec/kv_store.h, most_open_blocks()
    executor.ends_at_blocks = s.ends_at_blocks;
    EngineConfig config;
    config.tiers = {s.host_blocks, s.disk_blocks, s.block_tokens};
    config.limits.slo_ttft_ms = s.slo_ttft_ms;
    config.scheduler = {s.max_num_seqs, s.budget, s.max_model_len, s.long_prefill_token_threshold, s.max_scored_rows};
    config.scheduler.seals_blocks = s.seals_blocks;
    config.scheduler.ends_at_blocks = s.ends_at_blocks;
    config.kv_blocks = s.blocks;
    config.block_tokens = s.block_tokens;
    config.vocab_size = vocab;
    config.reuses_segments = s.segments;
    config.scheduler.cache_reuse = s.cache_reuse;
    engine = std::make_unique<Engine>(config, std::move(pool), std::move(cache), std::move(policies), executor, clock);
  }

  struct Track {
    Request request;
    std::map<int, std::vector<TokenId>> tokens;
    std::map<int, FinishReason> finish;
    std::vector<SampledToken> scored;
    bool done = false, cancelled = false;
    int samples_ended = 0;
  };

  RequestId add(Request request) {
    auto track = std::make_shared<Track>();
    track->request = request;
    auto id = engine->add(std::move(request), [track](const Output& o) {
      ASSERT_FALSE(track->done) << "news after the end";
      ASSERT_TRUE(o.prompt.empty() || (o.sample == 0 && track->tokens[0].empty())) << "the prompt was scored late";
      track->scored.insert(track->scored.end(), o.prompt.begin(), o.prompt.end());
      for (const SampledToken& t : o.tokens) track->tokens[o.sample].push_back(t.token);
      if (o.finish != FinishReason::none) {
        ASSERT_FALSE(track->finish.contains(o.sample));
        track->finish[o.sample] = o.finish;
      }
      track->done = o.request_done;
    });
    EXPECT_TRUE(id.ok()) << id.error().message;
    tracks[*id] = track;
    return *id;
  }

  /// Of a request whose prompt is scored all is heard once, and of one that was cancelled the beginning; else nothing.
  void check_scores(const Track& t) const {
    const size_t all = t.request.prompt_logprobs >= 0 ? t.request.prompt.size() - 1 : 0;
    ASSERT_LE(t.scored.size(), all);
    if (!t.cancelled) {
      ASSERT_EQ(t.scored.size(), all);
    }
    const auto want = ShadowExecutor::expected_scores(t.request, static_cast<int>(t.scored.size()));
    for (size_t i = 0; i < want.size(); ++i) {
      ASSERT_EQ(t.scored[i].token, want[i].token) << i;
      ASSERT_EQ(t.scored[i].logprob, want[i].logprob) << i;
    }
  }

  /// What beams find alone, with room for all of them.
  std::map<int, std::vector<TokenId>> search_alone(const Request& request) const {
    EngineSetup roomy = plain_setup();
    roomy.block_tokens = setup.block_tokens;
    roomy.max_model_len = setup.max_model_len;
    roomy.blocks = 4000;
    roomy.max_num_seqs = 64;
    roomy.budget = 1000;
    roomy.cache = &prefix_cache_catalog().back();
    roomy.segments = setup.segments;
    World alone(roomy, vocab);
    const RequestId id = alone.add(request);
    while (alone.engine->step()) {
    }
    return alone.tracks.at(id)->tokens;
  }

  void check_output(const Track& t) const {
    check_scores(t);
    if (t.request.beam_width > 0) {
      if (!t.cancelled) {
        ASSERT_EQ(t.tokens, search_alone(t.request));
      }
      return;
    }
    for (const auto& [sample, finish] : t.finish) {
      const auto want = ShadowExecutor::expected(t.request, sample, vocab, setup.max_model_len);
      const auto it = t.tokens.find(sample);
      const std::vector<TokenId> got = it == t.tokens.end() ? std::vector<TokenId>{} : it->second;
      if (finish == FinishReason::cancelled) {
        ASSERT_LE(got.size(), want.size());
        ASSERT_TRUE(std::equal(got.begin(), got.end(), want.begin()));
      } else {
        ASSERT_EQ(got, want) << "sample " << sample;
      }
    }
  }

  VirtualClock clock;
  EngineSetup setup;
  int vocab;
  ShadowExecutor executor;
  std::unique_ptr<Engine> engine;
  std::map<RequestId, std::shared_ptr<Track>> tracks;
};

/// Runs of the prompt that others may have too, as chunks in place or as modules with gaps between their positions; where they fit.
void add_segments(Rng& rng, const EngineSetup& s, Request& r) {
  const int prompt = static_cast<int>(r.prompt.size());
  KvReuse reuse;
  const bool modules = rng.below(2) == 0;
  const int lead = s.blocks % 3, length = 2 + s.max_model_len % 9;
  int largest = 0, position = 0;
  for (int at = 0; at < prompt;) {
    const bool segment = at >= lead && at + length < prompt && rng.below(5) != 0;
    const int n = std::min(prompt - at, at < lead ? lead - at : length);
    if (segment) reuse.segments.push_back({at, n, std::min(lead, reuse.segments.empty() ? at : reuse.segments[0].first), modules ? 0 : at - lead});
    if (segment) largest = std::max(largest, lead + n);
    if (modules && segment) position = std::max(position, at + at / length % 4 * 3);  // a gap, or none
    for (int k = 0; k < n; ++k) reuse.positions.push_back(modules ? position++ : at + k);
    at += n;
  }
  const auto blocks = [&](int tokens) { return (tokens + s.block_tokens - 1) / s.block_tokens; };
  if (reuse.segments.empty() || blocks(prompt + r.max_tokens) + blocks(largest) > s.blocks || reuse.positions.back() + r.max_tokens >= s.max_model_len) return;
  reuse.recompute = static_cast<double>(std::max<int64_t>(0, rng.between(-3, 4))) / 4;
  reuse.rule = rng.below(2) == 0 ? RecomputeRule::position : RecomputeRule::deviation;
  r.reuse = std::move(reuse);
}

Request random_request(Rng& rng, const EngineSetup& s, int vocab, const std::vector<std::vector<TokenId>>& prefixes) {
  Request r;
  const int length = static_cast<int>(rng.between(1, s.max_model_len - 1));
  if (rng.below(2) == 0) r.prompt = prefixes[rng.below(prefixes.size())];
  r.prompt.resize(std::min<size_t>(r.prompt.size(), length));
  // The same text at the same place behind another first block, and another end.
  if (s.host_blocks + s.disk_blocks > 0 && length > s.block_tokens && rng.below(2) == 0) {
    r.prompt.assign(prefixes[2].begin(), prefixes[2].begin() + rng.between(s.block_tokens, length));
    std::copy_n(prefixes[rng.below(2)].begin(), s.block_tokens, r.prompt.begin());
  }
  if (rng.below(4) != 0)
    while (static_cast<int>(r.prompt.size()) < length) r.prompt.push_back(static_cast<TokenId>(rng.below(vocab)));
  if (r.prompt.empty()) r.prompt.push_back(0);
  r.max_tokens = static_cast<int>(rng.between(1, s.max_model_len - static_cast<int>(r.prompt.size())));
  r.n = rng.below(4) == 0 ? static_cast<int>(rng.between(2, 5)) : 1;
  r.priority = static_cast<int>(rng.between(-2, 2));
  r.client = std::string(1, static_cast<char>('a' + rng.below(4)));
  r.salt = rng.below(8) == 0 ? 1 : 0;
  if (rng.below(3) == 0) r.stop_token_ids = {static_cast<TokenId>(rng.below(vocab))};
  if (rng.below(3) == 0) r.eos_token_ids = {static_cast<TokenId>(rng.below(vocab))};
  r.ignore_eos = rng.below(3) == 0;
  if (rng.below(6) == 0) r.prompt_logprobs = 0;
  if (rng.below(8) == 0 && !s.batching->closed) {
    r.beam_width = static_cast<int>(rng.between(r.n, r.n + 3));
    r.prompt_logprobs = -1;
    r.length_penalty = static_cast<float>(rng.below(3));
  }
  if (rng.below(3) == 0) r.sampling.min_tokens = static_cast<int>(rng.between(0, r.max_tokens));
  if (s.segments && r.prompt_logprobs < 0 && rng.below(4) != 0) add_segments(rng, s, r);
  return r;
}

/// What all schedules together have reached.
struct Reached { uint64_t kept = 0, segments = 0, detours = 0, preemptions = 0, copies = 0, hits = 0, recomputed = 0, loaded = 0, fetched = 0, lost = 0, evictions = 0, replayed = 0, open_rows = 0, reclaimed_pages = 0; };

void run_schedule(uint64_t seed, Reached& reached) {
  Rng rng(seed);
  const EngineSetup setup = random_setup(rng);
  SCOPED_TRACE(fmt::format("seed {}: {}", seed, setup.text()));
  const int vocab = static_cast<int>(rng.between(2, 40));
  World world(setup, vocab);
  std::vector<std::vector<TokenId>> prefixes(3);
  for (auto& p : prefixes)
    for (int i = 0; i < setup.max_model_len; ++i) p.push_back(static_cast<TokenId>(rng.below(vocab)));

  const int requests = static_cast<int>(rng.between(1, 16));
  int added = 0;
  uint64_t needed_steps = 0;
  bool each_fits_alone = true;  // with all of its samples
  bool searches = false;  // beams that wait for siblings give up their seats to them
  int steps = 0;
  while (true) {
    while (added < requests && rng.below(3) == 0) {
      Request r = random_request(rng, setup, vocab, prefixes);
      const int full = (static_cast<int>(r.prompt.size()) + r.max_tokens + setup.block_tokens - 1) / setup.block_tokens;
      each_fits_alone &= r.lines() * full + (r.lines() > 1) <= setup.blocks;
      searches |= r.beam_width > 0;
      needed_steps += static_cast<uint64_t>(r.n) * (r.prompt.size() + r.max_tokens);
      world.add(std::move(r));
      ++added;
    }
    if (!world.tracks.empty() && rng.below(24) == 0) {
      auto it = world.tracks.begin();
      std::advance(it, rng.below(world.tracks.size()));
      // All of the request, or one sample, born or not.
      it->second->cancelled = true;
      world.engine->cancel(it->first, rng.below(2) == 0 ? -1 : static_cast<int>(rng.below(it->second->request.n)));
    }
    const bool worked = world.engine->step();
    std::string why;
    ASSERT_TRUE(world.engine->consistent(&why)) << why;
    if (::testing::Test::HasFailure()) return;
    if (!worked && world.engine->held_until() > 0) {
      ASSERT_GT(world.engine->held_until(), world.clock.now());
      world.clock.advance_to(world.engine->held_until());
    } else if (!worked && added == requests) {
      break;
    }
    // Every running order makes progress: even with recomputation the work is bounded by far less than this.
    ASSERT_LT(steps++, 200000) << "the engine makes no progress";
  }
  EXPECT_LE(world.executor.max_step_tokens, setup.budget);
  EXPECT_LE(world.executor.max_scored_rows, setup.max_scored_rows);
  for (const auto& [id, track] : world.tracks) {
    ASSERT_TRUE(track->done) << "request " << id << " was lost";
    for (const auto& [sample, finish] : track->finish) {
      if (track->request.beam_width > 0 && finish == FinishReason::error) continue;  // fewer continuations than n: checked below
      ASSERT_NE(finish, FinishReason::error) << "request " << id << " failed though it could finish";
      if (finish == FinishReason::cancelled) {
        ASSERT_TRUE(track->cancelled);
      }
    }
    ASSERT_EQ(static_cast<int>(track->finish.size()), track->request.n) << "a sample ended unheard";
    if (setup.cache_reuse == 0) world.check_output(*track);
  }
  const EngineStats stats = world.engine->stats();
  EXPECT_EQ(stats.running + stats.waiting, 0);
  if (setup.cache_reuse > 0) reached.kept += stats.segment_hits_tokens;
  // Some preempt whatever there is room for: the table of combinations says so.
  const bool displaces = std::ranges::any_of(combinations(), [&](const Combination& c) {
    return c.one.value == setup.admission->name && (c.other.value == setup.queue->name || c.other.value == setup.batching->name || c.other.value == setup.allocator->name);
  });
  if (each_fits_alone && !setup.segments && !displaces && !searches && (setup.admission->name == "exact" || setup.admission->name == "reserve")) {
    EXPECT_EQ(stats.preemptions, 0u) << "admission promised room to the end";
  }
  EXPECT_EQ(stats.free_blocks + stats.cached_idle_blocks, stats.total_blocks) << "blocks leaked";
  EXPECT_LE(stats.prefix_queries_tokens, stats.prompt_tokens) << "a request asked the prefix cache twice";
  reached.segments += stats.segment_hits_tokens;
  reached.detours += static_cast<uint64_t>(world.executor.detours);
  reached.preemptions += stats.preemptions;
  reached.copies += stats.copied_blocks;
  reached.hits += stats.prefix_hits_tokens;
  reached.recomputed += stats.tokens_recomputed;
  reached.loaded += stats.tiers.loaded_host + stats.tiers.loaded_disk;
  reached.fetched += stats.tiers.fetched;
  reached.lost += stats.tiers.lost;
  reached.evictions += stats.kv_evictions;
  if (stats.kv_evictions > 0) reached.replayed += stats.tokens_recomputed;
  EXPECT_EQ(stats.kv_evictions, static_cast<uint64_t>(world.executor.evictions));
  reached.reclaimed_pages += stats.kv_pages_reclaimed;
  reached.open_rows += static_cast<uint64_t>(world.executor.copied_rows);
}

TEST(Schedule, RandomSchedulesKeepTheBooksAndTheOutputs) {
  Reached reached;
  for (uint64_t seed = 0; seed < 4000; ++seed) {
    run_schedule(seed, reached);
    if (HasFailure()) return;
  }
  EXPECT_GT(reached.segments, 300u);
  EXPECT_GT(reached.kept, 100u);
  EXPECT_GT(reached.detours, 1000u);
  EXPECT_GT(reached.preemptions, 1000u);
  EXPECT_GT(reached.copies, 1000u);
  EXPECT_GT(reached.hits, 10000u);
  EXPECT_GT(reached.recomputed, 10000u);
  EXPECT_GT(reached.loaded, 1000u);
  EXPECT_GT(reached.fetched, 100u);
  EXPECT_GT(reached.lost, 100u);
  EXPECT_GT(reached.evictions, 1000u);
  EXPECT_GT(reached.replayed, 1000u) << "no sequence that had let go of something was preempted";
  EXPECT_GT(reached.open_rows, 1000u);
  EXPECT_GT(reached.reclaimed_pages, 1000u);
}

TEST(Schedule, OldestNeverStarvesUnderFcfs) {
  // A pool that holds two long sequences, and a steady stream of short ones: the long one that came first ends first.
  EngineSetup s = plain_setup();
  s.blocks = 20;
  s.max_model_len = 70;
  World world(s, 11);
  Request big;
  big.prompt.assign(40, 3);
  big.max_tokens = 30;
  big.ignore_eos = true;
  const RequestId first = world.add(big);
  Rng rng(5);
  for (int i = 0; i < 4000 && !world.tracks[first]->done; ++i) {
    Request small;
    for (int k = 0; k < 12; ++k) small.prompt.push_back(static_cast<TokenId>(rng.below(11)));
    small.max_tokens = 20;
    if (i % 2 == 0) world.add(small);
    world.engine->step();
  }
  EXPECT_TRUE(world.tracks[first]->done);
  EXPECT_EQ(world.tracks[first]->finish[0], FinishReason::length);
}

/// Of a vocabulary of 50.
std::vector<TokenId> random_tokens(Rng& rng, int64_t n) {
  std::vector<TokenId> tokens(static_cast<size_t>(n));
  for (TokenId& t : tokens) t = static_cast<TokenId>(rng.below(50));
  return tokens;
}

TEST(Schedule, PrefixThatIsBeingComputedIsComputedOnce) {
  for (const PrefixCacheEntry& cache : prefix_cache_catalog()) {
    if (cache.name == "none") continue;
    EngineSetup s = plain_setup();
    s.blocks = 600;
    s.max_model_len = 1200;
    s.max_num_seqs = 64;
    s.budget = 256;
    s.cache = &cache;
    World world(s, 50);
    Rng rng(1);
    const std::vector<TokenId> prefix = random_tokens(rng, 1000);
    int own = 0;
    for (int r = 0; r < 32; ++r) {
      Request request;
      request.prompt = prefix;
      for (int i = 0; i < 8; ++i) request.prompt.push_back(static_cast<TokenId>(rng.below(50)));
      own += 8;
      request.max_tokens = 4;
      world.add(request);
    }
    while (world.engine->step()) {
    }
    for (auto& [id, track] : world.tracks) world.check_output(*track);
    EXPECT_EQ(world.engine->stats().prompt_tokens_computed, static_cast<uint64_t>(1000 + own)) << cache.name;
  }
}

// Single tokens of sequences that run side by side, in a pool that the prefix cache fills: almost all of what is read stands in
// clusters, as fast to read as blocks of 16, though every request finds some prefix of another that ends anywhere.
TEST(Schedule, SmallBlocksStayInClustersThoughTheCacheFillsThePool) {
  for (const PrefixCacheEntry& cache : prefix_cache_catalog()) {
    uint64_t computed_in_16 = 0;
    for (const int block_tokens : {16, 4, 1}) {
      EngineSetup s = plain_setup();
      s.block_tokens = block_tokens;
      s.blocks = 8192 / block_tokens;
      s.max_model_len = 1200;
      s.max_num_seqs = 8;
      s.budget = 256;
      s.cache = &cache;
      World world(s, 50);
      Rng rng(1);
      const std::vector<TokenId> prefix = random_tokens(rng, 300);
      for (int r = 0; r < 120; ++r) {
        Request request;
        request.prompt.assign(prefix.begin(), prefix.begin() + rng.between(1, 300));
        const std::vector<TokenId> own = random_tokens(rng, rng.between(1, 500));
        request.prompt.insert(request.prompt.end(), own.begin(), own.end());
        request.max_tokens = static_cast<int>(rng.between(1, 300));
        world.add(request);
      }
      while (world.engine->step()) {
      }
      for (auto& [id, track] : world.tracks) world.check_output(*track);
      EXPECT_GT(static_cast<double>(world.executor.in_clusters), 0.9 * static_cast<double>(world.executor.sixteens))
          << cache.name << ", blocks of " << block_tokens << ": " << world.executor.in_clusters << " of " << world.executor.sixteens;
      // The cache gives way for clusters, and finds as much as in blocks of 16 all the same.
      const uint64_t computed = world.engine->stats().prompt_tokens_computed;
      if (block_tokens == 16) computed_in_16 = computed;
      EXPECT_LE(computed, computed_in_16) << cache.name << ", blocks of " << block_tokens;
    }
  }
}

TEST(Schedule, EqualPromptsThatAreCachedStartAtOnce) {
  // Of a full hit nothing is left to wait for: not even when the prompt ends with its last block.
  for (const PrefixCacheEntry& cache : prefix_cache_catalog())
    for (const int block_tokens : {1, 4, 16}) {
      if (cache.name == "none") continue;
      EngineSetup s = plain_setup();
      s.block_tokens = block_tokens;
      s.blocks = 1024 / block_tokens + 64;
      s.cache = &cache;
      World world(s, 50);
      Request request;
      for (int i = 0; i < 64; ++i) request.prompt.push_back(i % 50);
      request.max_tokens = 8;
      request.ignore_eos = true;
      world.add(request);
      while (world.engine->step()) {
      }
      for (int i = 0; i < 8; ++i) world.add(request);
      world.engine->step();
      EXPECT_EQ(world.engine->stats().running, 8) << cache.name << ", blocks of " << block_tokens;
    }
}

TEST(Schedule, AnUrgentRequestDoesNotWaitForALessUrgentOnesPrefix) {
  EngineSetup s = plain_setup();
  s.queue = &queue_catalog()[1];
  ASSERT_EQ(s.queue->name, "priority");
  s.chunk = &chunk_catalog()[1];
  ASSERT_EQ(s.chunk->name, "split-and-fuse");
  s.blocks = 1000;
  s.max_model_len = 600;
  s.budget = 16;
  World world(s, 50);
  const auto request = [&](int first_token, int length, int priority) {
    Request r;
    for (int i = 0; i < length; ++i) r.prompt.push_back((first_token + i) % 50);
    r.max_tokens = 2;
    r.ignore_eos = true;
    r.priority = priority;
    return world.add(r);
  };
  request(0, 500, 5);
  world.engine->step();
  const RequestId urgent = request(0, 200, 0);
  int others = 0;
  for (; !world.tracks[urgent]->done && others < 500; ++others) {
    request(1 + others % 49, 16, 1);
    world.engine->step();
  }
  EXPECT_LE(others, 200 / 16 + 4) << "it was overtaken by those of lower priority";
}

TEST(Schedule, ExactAdmissionOfManyWhoShareAPrefixNeverPreempts) {
  uint64_t running_at_most = 0;
  for (uint64_t seed = 0; seed < 400; ++seed) {
    Rng rng(seed);
    EngineSetup s = plain_setup();
    const auto entries = admission_catalog();
    s.admission = &*std::ranges::find(entries, "exact", &AdmissionEntry::name);
    s.cache = pick(rng, prefix_cache_catalog());
    s.block_tokens = static_cast<int>(rng.between(1, 8));
    s.blocks = static_cast<int>(rng.between(160, 260)) / s.block_tokens;  // the largest request takes 3 x (45 + 25), and a block to copy to
    s.max_model_len = 80;
    s.max_num_seqs = 16;
    World world(s, 50);
    for (int requests = 0; requests < 40;) {
      if (rng.below(3) > 0 || !world.engine->step()) {
        Request r;
        r.prompt.assign(static_cast<size_t>(rng.between(1, 40)), static_cast<TokenId>(rng.below(2)));
        for (int64_t own = rng.below(5); own > 0; --own) r.prompt.push_back(static_cast<TokenId>(rng.below(50)));
        r.max_tokens = static_cast<int>(rng.between(1, 25));
        r.ignore_eos = rng.below(2) == 0;
        r.sampling.temperature = 1;
        r.n = rng.below(4) == 0 ? static_cast<int>(rng.between(1, std::min<int64_t>(3, s.blocks * s.block_tokens / 80))) : 1;
        world.add(r);
        ++requests;
      }
      running_at_most = std::max<uint64_t>(running_at_most, static_cast<uint64_t>(world.engine->stats().running));
    }
    while (world.engine->step()) {
    }
    ASSERT_EQ(world.engine->stats().finished_requests, 40u) << "seed " << seed;
    ASSERT_EQ(world.engine->stats().preemptions, 0u) << "seed " << seed << ", " << s.text();
  }
  EXPECT_EQ(running_at_most, 16u) << "nobody shared enough to fill the seats";
}

TEST(Schedule, StaticBatchesAreFilledOverSeveralSteps) {
  EngineSetup s = plain_setup();
  s.batching = &batching_catalog()[1];
  ASSERT_EQ(s.batching->name, "static");
  s.chunk = &chunk_catalog()[2];
  ASSERT_EQ(s.chunk->name, "prefill-first");
  s.blocks = 400;
  s.budget = 32;
  s.max_num_seqs = 6;
  World world(s, 50);
  Request request;
  request.max_tokens = 20;
  request.ignore_eos = true;
  for (int i = 0; i < 10; ++i) {
    request.prompt.assign(30, i);
    world.add(request);
  }
  for (int i = 0; i < 8; ++i) world.engine->step();
  EXPECT_EQ(world.engine->stats().running, 6) << "six seats, taken within the budget of several steps";
  while (world.engine->stats().finished_requests == 0) world.engine->step();
  world.engine->step();
  EXPECT_LT(world.engine->stats().running, 6) << "an empty seat stays empty until the batch has ended";
  while (world.engine->step()) {
  }
  EXPECT_EQ(world.engine->stats().finished_requests, 10u);
}

TEST(Schedule, ASearchThatHasEndedIsNotWaitedFor) {
  // Who may be late is refused by what waits for a first token: a search has had its own when it has ended.
  EngineSetup s = plain_setup();
  s.slo_ttft_ms = 1000;
  World world(s, 50);
  Request request;
  request.prompt = {1, 2, 3};
  request.max_tokens = 3;
  Request search = request;
  search.beam_width = 2;
  world.add(search);
  for (int i = 0; i < 30; ++i) {
    while (world.engine->step()) {
    }
    world.clock.advance_to(world.clock.now() + 600'000'000);
    const auto id = world.engine->add(request, [](const Output&) {});
    ASSERT_TRUE(id.ok()) << "request " << i << " on an idle engine: " << id.error().message;
  }
}

TEST(Schedule, SamplesSharePromptBlocksAndCopyOnlyTheLast) {
  EngineSetup s = plain_setup();
  s.cache = &prefix_cache_catalog()[2];
  ASSERT_EQ(s.cache->name, "none");
  World world(s, 50);
  Request request;
  request.prompt.assign(38, 7);  // nine blocks and a half
  request.max_tokens = 3;
  request.n = 8;
  world.add(request);
  world.engine->step();
  world.engine->step();
  // Ten blocks of the prompt, of which the last is copied by the seven who write beside its first holder.
  EXPECT_EQ(world.engine->stats().total_blocks - world.engine->stats().free_blocks, 10 + 7);
  EXPECT_EQ(world.engine->stats().copied_blocks, 7u);
  while (world.engine->step()) {
  }
  world.check_output(*world.tracks.begin()->second);
}

TEST(Schedule, BeamsThatExceedTheirReservationArePreemptedAsOftenAsItDoubles) {
  EngineSetup s = plain_setup();
  s.blocks = 512;
  s.max_model_len = 400;
  s.admission = &*std::ranges::find(admission_catalog(), "predicted", &AdmissionEntry::name);
  s.lengths = &*std::ranges::find(length_predictor_catalog(), "running-mean", &LengthPredictorEntry::name);
  World world(s, 50);
  const auto serve = [&](int beams, int max_tokens) {
    Request request;
    request.prompt.assign(20, 7);
    request.max_tokens = max_tokens;
    request.ignore_eos = true;
    request.beam_width = beams;
    const RequestId id = world.add(request);
    while (world.engine->step()) {
    }
    world.check_output(*world.tracks.at(id));
  };
  for (int i = 0; i < 50; ++i) serve(0, 16);  // what the predictor learns
  ASSERT_EQ(world.engine->stats().preemptions, 0u);
  serve(4, 200);
  EXPECT_GE(world.engine->stats().preemptions, 4u);
  EXPECT_LE(world.engine->stats().preemptions, 4u * 4) << "each of four beams at 16, 32, 64 and 128 outputs";
}

TEST(Schedule, RefusesWhatCanNeverFitAndFullQueues) {
  World world(plain_setup(), 50);
  Request request;
  request.prompt.assign(300, 1);
  const auto refused = world.engine->add(request, [](const Output&) {});
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().message.find("300"), std::string::npos);
  EXPECT_NE(refused.error().message.find("200"), std::string::npos);
  request.prompt = {51};
  EXPECT_FALSE(world.engine->add(request, [](const Output&) {}).ok());
  request.prompt = {1};
  for (int i = 0; i < 1024; ++i) ASSERT_TRUE(world.engine->add(request, [](const Output&) {}).ok());
  const auto full = world.engine->add(request, [](const Output&) {});
  ASSERT_FALSE(full.ok());
  EXPECT_EQ(full.error().code, ErrorCode::resource_exhausted);
}

}  // namespace
}  // namespace sluice
