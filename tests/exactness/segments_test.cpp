// Reused KV that is no prefix, on real weights through the real engine: what it promises exactly, and that it does what
// docs/adr/0015-modular-kv.md says, by a second way that uses no engine.

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>
#include <numeric>

#include "backend/op_table.h"
#include "base/rng.h"
#include "engine/build_engine.h"
#include "exec/local_executor.h"
#include "exec/reuse.h"
#include "tests/support/memory_source.h"

namespace sluice {
namespace {

struct Trace {
  std::vector<TokenId> tokens;
  std::vector<uint32_t> logprobs;
  int cached = 0;
  bool operator==(const Trace& other) const { return tokens == other.tokens && logprobs == other.logprobs; }
};

EngineOptions roomy() {
  EngineOptions o;
  o.kv_blocks = 160;
  o.block_tokens = 16;
  o.max_model_len = 480;
  o.max_num_seqs = 16;
  o.max_num_batched_tokens = 512;
  o.segment_cache = true;
  return o;
}

/// A model with an engine, which keeps its caches between calls.
class Bed {
 public:
  explicit Bed(const EngineOptions& options, const KvFormat& kv = kKvF32, int threads = 1, std::shared_ptr<TensorSource> source = {})
      : pool_(threads), ops_(**select_op_table(""), pool_) {
    if (source == nullptr) source = open_tensor_source(SLUICE_SOURCE_DIR "/models/stories260K.gguf").value();
    weights_ = std::make_unique<WeightStore>(std::move(source), ops_);
    model = build_model(*weights_, ops_).value();
    executor_ = std::make_unique<LocalExecutor>(*model, ops_, KvArena::allocate(model->kv(), kv, options.kv_blocks, options.block_tokens).value());
    engine = build_engine(options, *executor_, clock_).value();
  }

  std::map<std::pair<size_t, int>, Trace> serve(const std::vector<Request>& requests) {
    std::map<std::pair<size_t, int>, Trace> traces;
    for (size_t i = 0; i < requests.size(); ++i) {
      const auto id = engine->add(requests[i], [&traces, i](const Output& out) {
        EXPECT_NE(out.finish, FinishReason::error) << out.error;
        Trace& trace = traces[{i, out.sample}];
        trace.cached = out.cached_tokens;
        for (const SampledToken& t : out.tokens) {
          trace.tokens.push_back(t.token);
          for (const TokenLogprob& top : t.top) trace.logprobs.push_back(std::bit_cast<uint32_t>(top.logprob));
        }
      });
      EXPECT_TRUE(id.ok()) << id.error().message;
    }
    while (engine->step()) {
      std::string why;
      EXPECT_TRUE(engine->consistent(&why)) << why;
    }
    return traces;
  }
  Trace serve(const Request& request) { return serve(std::vector{request}).at({0, 0}); }

  std::unique_ptr<Model> model;
  std::unique_ptr<Engine> engine;

 private:
  ThreadPool pool_;
  Ops ops_;
  std::unique_ptr<WeightStore> weights_;
  std::unique_ptr<LocalExecutor> executor_;
  RealClock clock_;
};

std::vector<TokenId> random_tokens(Rng& rng, int n) {
  std::vector<TokenId> out;
  for (int i = 0; i < n; ++i) out.push_back(static_cast<TokenId>(3 + rng.below(509)));
  return out;
}

Request plain(std::vector<TokenId> prompt, int max_tokens = 8) {
  Request r;
  r.prompt = std::move(prompt);
  r.max_tokens = max_tokens;
  r.ignore_eos = true;
  r.sampling.temperature = 0;
  r.sampling.logprobs = 3;
  return r;
}

/// BOS, chunks of these lengths, and `own` tokens.
Request chunked(Rng& rng, const std::vector<int>& lengths, int own, double recompute, RecomputeRule rule) {
  Request r = plain({1});
  for (const int n : lengths) {
    const int first = static_cast<int>(r.prompt.size());
    r.reuse.segments.push_back({first, n, 1, first - 1});
    for (const TokenId t : random_tokens(rng, n)) r.prompt.push_back(t);
  }
  for (const TokenId t : random_tokens(rng, own)) r.prompt.push_back(t);
  r.reuse.recompute = recompute;
  r.reuse.rule = rule;
  return r;
}

/// Modules of a schema: the second stands far behind the first, a parameter of it is filled, and the text follows.
Request modular(Rng& rng) {
  Request r = plain({1});
  r.reuse.positions = {0};
  const auto put = [&](int position, int n) {
    for (const TokenId t : random_tokens(rng, n)) r.prompt.push_back(t), r.reuse.positions.push_back(position++);
  };
  r.reuse.segments.push_back({1, 37, 1, 0});
  put(20, 37);
  r.reuse.segments.push_back({38, 50, 1, 0});
  put(90, 21);   // of which positions 111 to 115 are a parameter's
  put(116, 29);
  put(111, 3);   // its argument
  put(145, 11);
  return r;
}

TEST(Segments, AModuleAtTheStartEqualsThePlainPromptToTheBit) {
  for (const KvFormat* kv : {&kKvF32, &kKvF16, &kKvInt8}) {
    SCOPED_TRACE(std::string(kv->name));
    Rng rng(1);
    Request module = plain({1});
    for (const TokenId t : random_tokens(rng, 150)) module.prompt.push_back(t);
    module.reuse.segments.push_back({1, 120, 1, 0});
    module.reuse.recompute = 0.5;  // of which an exact segment needs nothing
    Request same = module;
    same.reuse = {};
    EngineOptions options = roomy();
    options.prefix_cache = "none";
    const Trace want = Bed(options, *kv).serve(same);
    for (const int block_tokens : {1, 5, 16, 64})
      for (const int budget : {7, 512}) {
        options.block_tokens = block_tokens;
        options.kv_blocks = 2000 / block_tokens + 8;
        options.max_num_batched_tokens = budget;
        Bed bed(options, *kv);
        const Trace first = bed.serve(module), again = bed.serve(module);
        EXPECT_EQ(first, want);
        EXPECT_EQ(again, want);
        EXPECT_EQ(first.cached, 0);
        EXPECT_EQ(again.cached, 120);
      }
  }
}

TEST(Segments, RecomputedInWholeTheyEqualFullPrefillToTheBit) {
  for (const KvFormat* kv : {&kKvF32, &kKvF16, &kKvInt8})
    for (const RecomputeRule rule : {RecomputeRule::position, RecomputeRule::deviation}) {
      Rng rng(2);
      Request request = chunked(rng, {40, 63, 17}, 20, 1.0, rule);
      Request same = request;
      same.reuse = {};
      EngineOptions options = roomy();
      const Trace want = Bed(options, *kv).serve(same);
      for (const int budget : {11, 512}) {
        options.max_num_batched_tokens = budget;
        Bed bed(options, *kv);
        EXPECT_EQ(bed.serve(request), want) << kv->name;
        const Trace again = bed.serve(request);
        EXPECT_EQ(again, want) << kv->name;
        EXPECT_EQ(again.cached, 40) << "the first chunk is exact where it stands; nothing else stayed as it was";
      }
    }
}

// The output is a function of the request: not of chunks, blocks, threads, company, preemption, or what the store has.
TEST(Segments, OutputsDependOnTheRequestAlone) {
  for (const KvFormat* kv : {&kKvF32, &kKvF16}) {
    Rng rng(3);
    std::vector<Request> requests;
    for (const double share : {0.0, 0.2, 0.7})
      for (const RecomputeRule rule : {RecomputeRule::position, RecomputeRule::deviation})
        requests.push_back(chunked(rng, {30, 45, 21}, 9, share, rule));
    requests.push_back(modular(rng));
    Request other = requests[1];  // the same chunks in another order
    std::rotate(other.prompt.begin() + 1, other.prompt.begin() + 31, other.prompt.begin() + 97);
    other.reuse.segments = {{1, 45, 1, 0}, {46, 21, 1, 45}, {67, 30, 1, 66}};
    requests.push_back(other);
    requests.back().n = 3;
    requests.back().sampling.temperature = 1;
    requests.push_back(requests[0]);
    requests.back().reuse = {};
    std::map<std::pair<size_t, int>, Trace> want;
    for (size_t i = 0; i < requests.size(); ++i) {
      Bed alone(roomy(), *kv);
      for (auto& [key, trace] : alone.serve(std::vector{requests[i]})) want[{i, key.second}] = trace;
    }
    struct Way { const char* name; int blocks, block_tokens, budget, seqs, threads; };
    for (const Way& way : {Way{"together", 160, 16, 512, 16, 1}, Way{"two threads, small chunks", 160, 16, 23, 16, 2}, Way{"block 5", 500, 5, 100, 16, 1},
                           Way{"preempted", 15, 16, 64, 16, 1}, Way{"block 1, preempted", 230, 1, 64, 16, 1}}) {
      SCOPED_TRACE(fmt::format("{}, {}", way.name, kv->name));
      EngineOptions options = roomy();
      options.kv_blocks = way.blocks, options.block_tokens = way.block_tokens, options.max_num_batched_tokens = way.budget;
      options.max_model_len = 230;
      Bed bed(options, *kv, way.threads);
      EXPECT_EQ(bed.serve(requests), want);
      EXPECT_EQ(bed.serve(requests), want) << "with what the store has now";
      if (std::string_view(way.name).find("preempted") != std::string_view::npos) {
        EXPECT_GT(bed.engine->stats().preemptions, 0u);
      }
    }
  }
}

// Without an engine: each segment in memory of its own, its rows copied one by one, and the rest computed behind them.
Trace by_hand(Model& model, const Request& request) {
  const KvSpec& spec = model.kv();
  const int capacity = static_cast<int>(request.prompt.size()) + request.max_tokens;
  KvArena kv = KvArena::allocate(spec, kKvF32, capacity, 1).value();
  std::vector<BlockId> blocks(static_cast<size_t>(capacity));
  std::iota(blocks.begin(), blocks.end(), BlockId{0});
  const auto vocab = static_cast<size_t>(model.info().vocab_size);
  std::vector<float> logits(vocab);
  std::vector<TokenId> tokens = request.prompt;
  // One row at a time: nothing is batched.
  const auto row = [&](const KvArena& into, TokenId token, int32_t position, int slot, bool wanted) {
    const int64_t at = slot;
    const int32_t first = 0;
    const AttendSegment segment{0, 1, slot, blocks.data()};
    model.forward({{&token, 1}, {&position, 1}, {&at, 1}, {&segment, 1}, {&first, wanted ? size_t{1} : size_t{0}}}, into.layers(), logits.data());
  };
  size_t g = 0;
  for (int i = 0; i < static_cast<int>(tokens.size());) {
    if (g == request.reuse.segments.size() || i < request.reuse.segments[g].first) {
      row(kv, tokens[static_cast<size_t>(i)], request.reuse.position_of(i), i, i + 1 == static_cast<int>(tokens.size()));
      ++i;
      continue;
    }
    const KvSegment& s = request.reuse.segments[g++];
    KvArena alone = KvArena::allocate(spec, kKvF32, s.lead + s.tokens, 1).value();
    std::vector<uint8_t> bytes(KvArena::block_bytes(spec, kKvF32, 1));
    for (int k = 0; k < s.lead + s.tokens; ++k) {
      const int token = k < s.lead ? k : s.first + k - s.lead;
      row(alone, tokens[static_cast<size_t>(token)], request.reuse.position_of(token) - (k < s.lead ? 0 : s.shift), k, false);
      if (k < s.lead) continue;
      alone.get(static_cast<BlockId>(k), bytes.data());
      kv.put(static_cast<BlockId>(token), bytes.data());
      KvCopy copy{static_cast<BlockId>(k), static_cast<BlockId>(token), 1};
      copy.shift = s.shift;
      if (s.shift != 0) rotate_copied_keys(model, kv.layers(), copy);
    }
    i = s.first + s.tokens;
    if (s.first == s.lead && s.shift == 0) continue;
    const int n = static_cast<int>(std::ceil(request.reuse.recompute * s.tokens));
    for (int k = 0; k < n; ++k) row(kv, tokens[static_cast<size_t>(s.first + k)], request.reuse.position_of(s.first + k), s.first + k, false);
  }
  Trace out;
  for (int k = 0; k < request.max_tokens; ++k) {
    const SampledToken best = [&] {
      SampledToken t;
      t.token = static_cast<TokenId>(std::max_element(logits.begin(), logits.end()) - logits.begin());
      return score_token(t.token, logits, 3);
    }();
    out.tokens.push_back(best.token);
    for (const TokenLogprob& top : best.top) out.logprobs.push_back(std::bit_cast<uint32_t>(top.logprob));
    tokens.push_back(best.token);
    if (k + 1 < request.max_tokens) row(kv, best.token, request.reuse.position_of(static_cast<int>(tokens.size()) - 1), static_cast<int>(tokens.size()) - 1, true);
  }
  return out;
}

TEST(Segments, DoWhatTheyAreSaidToDo) {
  Rng rng(4);
  Bed bed(roomy());
  for (const Request& request : {modular(rng), chunked(rng, {40, 22}, 12, 0, RecomputeRule::position), chunked(rng, {33, 50, 8}, 5, 0.4, RecomputeRule::position)}) {
    const Trace want = by_hand(*bed.model, request);
    EXPECT_EQ(bed.serve(request), want);
    EXPECT_EQ(bed.serve(request), want);
    Request full = request;
    full.reuse = {};
    EXPECT_NE(bed.serve(full), want) << "the workload is too easy: even full prefill gives the same";
  }
}

TEST(Segments, OnlyNewTokensAreComputed) {
  for (const int length : {50, 200, 400}) {
    Rng rng(5);
    EngineOptions options = roomy();
    Bed bed(options);
    Request first = chunked(rng, {length}, 10, 0, RecomputeRule::position), second = first;
    for (size_t i = second.prompt.size() - 10; i < second.prompt.size(); ++i) second.prompt[i] = static_cast<TokenId>(3 + rng.below(500));
    bed.serve(first);
    const EngineStats before = bed.engine->stats();
    EXPECT_EQ(before.prompt_tokens_prepared, static_cast<uint64_t>(1 + length)) << "the encoding, behind the first token";
    const Trace trace = bed.serve(second);
    const EngineStats after = bed.engine->stats();
    EXPECT_EQ(trace.cached, length);
    EXPECT_EQ(after.prompt_tokens_prepared, before.prompt_tokens_prepared);
    EXPECT_EQ(after.prompt_tokens_computed - before.prompt_tokens_computed, 11u) << "the first token and ten new ones, whatever the segment's length";
    EXPECT_EQ(after.segment_hits_tokens, static_cast<uint64_t>(length));
    EXPECT_EQ(after.step_tokens - before.step_tokens, 11u + 7u);
  }
}

TEST(Segments, NothingApproximateIsPublished) {
  Rng rng(6);
  Bed bed(roomy());
  Request modules = modular(rng);
  bed.serve(modules);
  Request same = modules;
  same.reuse = {};
  EXPECT_EQ(bed.serve(same).cached, 0);
  EXPECT_EQ(bed.serve(same).cached, 96) << "what was computed plainly is";
  modules.salt = 7;
  EXPECT_EQ(bed.serve(modules).cached, 0) << "segments of one tenant are nobody else's";
  EXPECT_EQ(bed.serve(modules).cached, 37 + 50);
}

TEST(Segments, KeysAreRotatedLikeTheModelDoesItself) {
  // Encoded alone at other positions, and rotated there: the same but for rounding.
  Rng rng(7);
  for (const KvFormat* kv : {&kKvF32, &kKvF16, &kKvInt8}) {
    Bed bed(roomy(), *kv);
    Request there = chunked(rng, {60}, 8, 0, RecomputeRule::position);
    for (int i = 0; i < static_cast<int>(there.prompt.size()); ++i) there.reuse.positions.push_back(i == 0 ? 0 : i + 100);
    there.reuse.segments[0].shift = there.reuse.segments[0].lead = 0;  // behind a lead the distance to that would differ
    Request rotated = there;
    rotated.reuse.segments[0].shift = 100;
    const Trace want = bed.serve(there), got = bed.serve(rotated);
    double worst = 0;
    for (size_t i = 0; i < 3; ++i) worst = std::max(worst, std::fabs(static_cast<double>(std::bit_cast<float>(want.logprobs[i])) - static_cast<double>(std::bit_cast<float>(got.logprobs[i]))));
    EXPECT_LT(worst, kv == &kKvF32 ? 1e-4 : kv == &kKvF16 ? 5e-3 : 0.2) << kv->name;
    EXPECT_GT(worst, 0.0) << kv->name;
  }
}

// A conversation whose first turns are cut behind the system prompt: what is left is found where it stood, and moved.
TEST(Segments, KeptHistoryIsWhatThePrefixCacheHoldsMoved) {
  Rng rng(9);
  EngineOptions options = roomy();
  options.segment_cache = false;
  options.cache_reuse = 32;
  options.block_tokens = 8;
  Bed bed(options);
  const std::vector<TokenId> system = random_tokens(rng, 24), cut = random_tokens(rng, 50), rest = random_tokens(rng, 100), fresh = random_tokens(rng, 10);
  const auto joined = [](std::initializer_list<std::span<const TokenId>> parts) {
    std::vector<TokenId> all;
    for (const auto& part : parts) all.insert(all.end(), part.begin(), part.end());
    return all;
  };
  const Request before = plain(joined({system, cut, rest}));
  const Request after = plain(joined({system, rest, fresh}));
  bed.serve(before);
  const Trace got = bed.serve(after);
  // Of the rest, the blocks that began in it: from position 80 on.
  EXPECT_EQ(got.cached, 24 + 88);
  // The same by hand: that request's KV, its rows at [80, 168) moved to [30, 118), the others computed.
  const KvSpec& spec = bed.model->kv();
  KvArena whole = KvArena::allocate(spec, kKvF32, 200, 1).value(), kv = KvArena::allocate(spec, kKvF32, 200, 1).value();
  std::vector<BlockId> blocks(200);
  std::iota(blocks.begin(), blocks.end(), BlockId{0});
  std::vector<float> logits(static_cast<size_t>(bed.model->info().vocab_size));
  const auto compute = [&](const KvArena& into, const std::vector<TokenId>& tokens, int from, int to) {
    for (int i = from; i < to; ++i) {
      const int32_t position = i, first = 0;
      const int64_t at = i;
      const AttendSegment segment{0, 1, i, blocks.data()};
      bed.model->forward({{&tokens[static_cast<size_t>(i)], 1}, {&position, 1}, {&at, 1}, {&segment, 1}, {&first, 1}}, into.layers(), logits.data());
    }
  };
  compute(whole, before.prompt, 0, 174);
  compute(kv, after.prompt, 0, 30);
  std::vector<uint8_t> bytes(KvArena::block_bytes(spec, kKvF32, 1));
  for (BlockId from = 80; from < 168; ++from) {
    whole.get(from, bytes.data());
    kv.put(from - 50, bytes.data());
    KvCopy copy{from, from - 50, 1};
    copy.shift = -50;
    rotate_copied_keys(*bed.model, kv.layers(), copy);
  }
  compute(kv, after.prompt, 118, 134);
  const TokenId best = static_cast<TokenId>(std::ranges::max_element(logits) - logits.begin());
  EXPECT_EQ(got.tokens.at(0), best);
  const SampledToken scored = score_token(best, logits, 3);
  for (size_t k = 0; k < 3; ++k) EXPECT_EQ(got.logprobs.at(k), std::bit_cast<uint32_t>(scored.top[k].logprob));

  // The next turn finds what this one left, from the block on in which it parts from the exact prefix.
  Request longer = after;
  longer.prompt.push_back(5);
  EXPECT_EQ(bed.serve(longer).cached, 24 + 104);
  // Other tenants find nothing, and what is too short is left alone.
  Request other = after;
  other.salt = 1;
  EXPECT_EQ(bed.serve(other).cached, 0);
  options.cache_reuse = 200;
  Bed strict(options);
  strict.serve(before);
  EXPECT_EQ(strict.serve(after).cached, 24);
  // An exact prefix stays exact.
  Bed off(roomy());
  const Request next_turn = plain(joined({before.prompt, fresh}));
  EXPECT_EQ(bed.serve(next_turn), off.serve(next_turn));
}

TEST(Segments, RefusesWhatItCannotDo) {
  Rng rng(8);
  Bed bed(roomy());
  const auto refused = [&](Request request, std::string_view says) {
    const auto id = bed.engine->add(std::move(request), [](const Output&) {});
    ASSERT_FALSE(id.ok()) << says;
    EXPECT_EQ(id.error().param, "prompt_cache");
    EXPECT_NE(id.error().message.find(says), std::string::npos) << id.error().message;
  };
  const Request good = modular(rng);
  const auto with = [&](auto change) {
    Request request = good;
    change(request);
    return request;
  };
  refused(with([](Request& r) { r.prompt_logprobs = 1; }), "logprobs");
  refused(with([](Request& r) { r.reuse.recompute = 1.5; }), "1.5");
  refused(with([](Request& r) { r.reuse.positions.pop_back(); }), "positions are given");
  refused(with([](Request& r) { r.reuse.positions[3] = -1; }), "-1");
  refused(with([](Request& r) { r.reuse.positions.back() = 478; }), "480");
  refused(with([](Request& r) { r.reuse.segments[1].first = 20; }), "overlaps");
  refused(with([](Request& r) { r.reuse.segments[1].tokens = 1000; }), "outside");
  refused(with([](Request& r) { r.reuse.segments[1].tokens = 0; }), "empty");
  refused(with([](Request& r) { r.reuse.segments[1].lead = 2; }), "encoded behind 2");
  refused(with([](Request& r) { r.reuse.segments[1].tokens = static_cast<int>(r.prompt.size()) - 38; }), "ends in a segment");
  EngineOptions off = roomy();
  off.segment_cache = false;
  Bed without(off);
  EXPECT_FALSE(without.engine->add(good, [](const Output&) {}).ok());
  EngineOptions small = roomy();
  small.kv_blocks = 12, small.max_model_len = 190;
  Bed tight(small);
  const auto too_large = tight.engine->add(chunked(rng, {100}, 20, 0, RecomputeRule::position), [](const Output&) {});
  ASSERT_FALSE(too_large.ok());
  EXPECT_NE(too_large.error().message.find("16 KV blocks"), std::string::npos) << too_large.error().message;
  EngineOptions apart = roomy();
  apart.kv_allocator = "virtual";
  EXPECT_FALSE(check_engine_options(apart).ok());
}

}  // namespace
}  // namespace sluice
