// Exact by construction: on one path (instruction set, weight pack, KV format) a request's tokens and logprobs are the same
// bits alone or in any batch, under any chunking, block size, thread count, with the prefix cache on or off, and after
// preemption. Each test runs real weights through the real engine.

#include <gtest/gtest.h>

#include <unistd.h>

#include <bit>
#include <cmath>
#include <cstdio>
#include <map>
#include <optional>
#include <set>

#include "backend/op_meter.h"
#include "backend/op_table.h"
#include "base/rng.h"
#include "engine/build_engine.h"
#include "exec/layered_arena.h"
#include "exec/local_executor.h"
#include "exec/virtual_arena.h"
#include "sched/chunk/catalog.h"
#include "sched/preempt/catalog.h"
#include "sched/queue/catalog.h"
#include "tests/support/failing_io.h"
#include "tests/support/memory_source.h"

namespace sluice {
namespace {

/// Tokens and the bits of their logprobs.
struct Trace {
  std::vector<TokenId> tokens;
  std::vector<uint32_t> logprobs;
  bool operator==(const Trace&) const = default;
};
using Traces = std::map<std::pair<size_t, int>, Trace>;  // (request, sample)

struct Way {
  EngineOptions engine;
  int threads = 1;
  KvFormats kv = kKvF32;
  bool one_at_a_time = false;
  std::string disk = {};  // the file of engine.disk_blocks; made for the run alone when not named
  double offload = 0;     // share of every layer's KV that is in a file
  int offload_depth = 1;
  bool offload_to_disk = false;  // else to a device in memory, whose requests end in any order
  int spare_pages = -1;   // of layers that read the last tokens only: pages beside those without which nothing runs; -1: they have all of every block
  bool on_ref = false;  // the portable table is slow, and backend_test shows its sums to be those of the others
};

EngineOptions roomy() {
  EngineOptions o;
  o.kv_blocks = 400;
  o.block_tokens = 16;
  o.max_model_len = 400;
  o.max_num_seqs = 64;
  o.max_num_batched_tokens = 512;
  return o;
}

// ThreadSanitizer makes everything some ten times slower, and it looks for races alone: under it only the ways with
// several threads are run, on the shapes that differ in how work is shared out. What a run must fulfil stays the same.
#ifdef __SANITIZE_THREAD__
constexpr bool kThreadSanitizer = true;
#else
constexpr bool kThreadSanitizer = false;
#endif

struct Run {
  Traces traces;
  EngineStats stats;
  double attention_bytes = 0;  // of keys and values read
};

std::string temporary_file() { return ::testing::TempDir() + "sluice_exactness_" + std::to_string(::getpid()); }

/// Beams come and go, and have no place in a batch that nobody may join.
bool takes(const Way& way, const Request& request) { return request.beam_width == 0 || way.engine.batching == "continuous"; }

/// Of `all` those that it takes.
Traces taken(const Way& way, const std::vector<Request>& requests, Traces all) {
  std::erase_if(all, [&](const auto& trace) { return !takes(way, requests[trace.first.first]); });
  return all;
}

Run run(const std::shared_ptr<TensorSource>& source, const OpTable& table, const Way& way, const std::vector<Request>& requests) {
  ThreadPool pool(way.threads);
  Ops ops(table, pool);
  OpMeter meter;
  ops.set_meter(&meter);
  WeightStore weights(source, ops);
  auto model = build_model(weights, ops);
  EXPECT_TRUE(model.ok()) << model.error().message;
  EngineOptions options = way.engine;
  int open_blocks = 0;
  if (way.kv.seals()) {  // the block size is part of the path: one for all ways
    const int tokens = way.kv.fitting_block(1);
    // In fewer than nine blocks, nobody has a full one when he is preempted.
    options.kv_blocks = std::max(9, (std::max(options.kv_blocks * options.block_tokens, options.max_model_len) + tokens - 1) / tokens);
    options.block_tokens = tokens;
    options.seals_blocks = true;
    options.ends_at_blocks = way.kv.pairs();
    open_blocks = most_open_blocks(options.max_num_seqs, options.max_num_batched_tokens, options.block_tokens, options.kv_blocks);
  }
  if ((*model)->kv().has(KvGroup::Kind::state)) options.seals_blocks = true;
  const int reach = (*model)->kv().recent_reach(options.block_tokens);
  if (way.spare_pages >= 0 && reach > 0 && !way.kv.seals()) {
    options.recent = {1, reach};
    options.recent.pages = static_cast<int>(options.recent.least(1, options.max_model_len, options.max_num_batched_tokens, options.block_tokens)) + way.spare_pages;
  }
  if (options.kv_allocator == "virtual") {
    options.block_tokens = VirtualArena::page_group_tokens((*model)->kv(), *way.kv.single(), way.engine.block_tokens, 4096);
    options.kv_blocks = std::max(way.engine.kv_blocks * way.engine.block_tokens, way.engine.max_model_len) / options.block_tokens + 1;
  }
  KvStoreOptions store{.allocator = options.kv_allocator, .blocks = options.kv_blocks, .block_tokens = options.block_tokens, .tile_tokens = way.engine.block_tokens,
                       .slots = options.max_num_seqs, .max_model_len = options.max_model_len, .open_blocks = open_blocks, .pages = options.recent.pages};
  for (int l = 0; way.offload > 0 && l < (*model)->info().layers; ++l) store.offload.layers.push_back(l);
  store.offload.share = way.offload, store.offload.depth = way.offload_depth, store.offload.path = ::testing::TempDir();
  const auto open_store = [&]() -> Result<std::unique_ptr<KvStore>> {
    if (way.offload == 0 || way.offload_to_disk) return open_kv_store((*model)->kv(), way.kv, store);
    auto device = std::make_unique<test::FailingIo>(LayeredArena::file_bytes((*model)->kv(), *way.kv.single(), store), 1);
    SLUICE_TRY(auto arena, LayeredArena::open((*model)->kv(), *way.kv.single(), store, std::move(device)));
    return std::unique_ptr<KvStore>(std::move(arena));
  };
  auto kv = open_store();
  EXPECT_TRUE(kv.ok()) << kv.error().message;
  const size_t block_bytes = KvArena::block_bytes((*model)->kv(), way.kv, options.block_tokens);
  std::unique_ptr<BlockFile> file;
  if (way.engine.disk_blocks > 0) {
    const BlockFileIdentity identity{1, block_bytes, options.block_tokens};
    const std::string path = way.disk.empty() ? temporary_file() : way.disk;
    if (way.disk.empty()) std::remove(path.c_str());
    auto opened = BlockFile::open(path, BlockFile::bytes_for(way.engine.disk_blocks, identity), identity);
    EXPECT_TRUE(opened.ok()) << opened.error().message;
    file = std::move(opened).value();
    if (way.disk.empty()) std::remove(path.c_str());  // open, it stays until it is closed
  }
  LocalExecutor executor(**model, ops, std::move(*kv), KvTiers::allocate(way.engine.host_blocks, std::move(file), block_bytes).value(), retention_of(options));
  RealClock clock;
  auto engine = build_engine(options, executor, clock);
  EXPECT_TRUE(engine.ok()) << engine.error().message;
  (*engine)->recover(executor.tiers().recovered());
  Run result;
  for (size_t i = 0; i < requests.size(); ++i) {
    const auto id = (*engine)->add(requests[i], [&result, i](const Output& out) {
      EXPECT_NE(out.finish, FinishReason::error) << out.error;
      Trace& trace = result.traces[{i, out.sample}];
      for (const auto& tokens : {out.prompt, out.tokens})
        for (const SampledToken& t : tokens) {
          trace.tokens.push_back(t.token);
          trace.logprobs.push_back(std::bit_cast<uint32_t>(t.logprob));
          for (const TokenLogprob& top : t.top) trace.logprobs.push_back(std::bit_cast<uint32_t>(top.logprob));
        }
    });
    EXPECT_EQ(id.ok(), takes(way, requests[i])) << (id.ok() ? "beams were taken into a closed batch" : id.error().message);
    if (way.one_at_a_time)
      while ((*engine)->step()) {
      }
  }
  while ((*engine)->step()) {
  }
  std::string why;
  EXPECT_TRUE((*engine)->consistent(&why)) << why;
  result.stats = (*engine)->stats();
  for (const OpMeter::Entry& e : meter.entries())
    if (e.work.op == "attention") result.attention_bytes = e.work.bytes;
  return result;
}

std::vector<Request> mixed_requests(int64_t vocab, uint64_t seed) {
  Rng rng(seed);
  std::vector<TokenId> shared;
  for (int i = 0; i < 300; ++i) shared.push_back(static_cast<TokenId>(rng.below(static_cast<uint64_t>(vocab))));
  std::vector<Request> requests;
  for (const int length : {1, 7, 16, 33, 64, 120, 270, 50, 90}) {
    Request r;
    if (length >= 33) r.prompt.assign(shared.begin(), shared.begin() + length * 2 / 3);
    while (static_cast<int>(r.prompt.size()) < length) r.prompt.push_back(static_cast<TokenId>(rng.below(static_cast<uint64_t>(vocab))));
    r.max_tokens = static_cast<int>(rng.between(16, 40));
    r.n = length == 50 ? 3 : length == 90 ? 2 : 1;
    if (length == 90) r.beam_width = 4;
    r.sampling.temperature = length % 2 == 0 ? 0.0f : 1.0f;
    r.sampling.seed = seed + static_cast<uint64_t>(length);
    r.sampling.logprobs = 3;
    if (length == 50 || length == 120) r.prompt_logprobs = 2;
    r.priority = length % 3;
    r.client = length % 2 == 0 ? "a" : "b";
    r.sampling.repetition_penalty = length == 33 ? 1.3f : 1.0f;
    requests.push_back(std::move(r));
  }
  return requests;
}

struct Named { std::string name; Way way; };

std::vector<Named> ways() {
  std::vector<Named> list;
  auto add = [&](std::string name, auto change) {
    Way way{roomy()};
    change(way);
    list.push_back({std::move(name), way});
  };
  add("batched", [](Way&) {});
  add("two threads", [](Way& w) { w.threads = 2; });
  add("three threads", [](Way& w) { w.threads = 3, w.on_ref = true; });
  add("chunks of one token", [](Way& w) { w.engine.max_num_batched_tokens = 1; });
  add("chunks of seven", [](Way& w) { w.on_ref = true; w.engine.max_num_batched_tokens = 7, w.engine.chunk_policy = "split-and-fuse"; });
  add("prefill first", [](Way& w) { w.engine.chunk_policy = "prefill-first", w.threads = 2; });
  add("decode first", [](Way& w) { w.engine.chunk_policy = "decode-first", w.threads = 2; });
  add("chunks by a target for the time between tokens", [](Way& w) { w.engine.tbt_target_ms = 2, w.threads = 2; });
  add("steps of 24 tokens", [](Way& w) { w.engine.chunk_policy = "split-and-fuse", w.engine.forward_tokens = 24; });
  add("windowed batches", [](Way& w) { w.engine.batching = "windowed"; });
  add("static batches", [](Way& w) { w.engine.batching = "static"; });
  add("exact admission in a small pool", [](Way& w) { w.engine.admission_policy = "exact", w.engine.kv_blocks = 79, w.engine.block_tokens = 4, w.engine.max_model_len = 312, w.threads = 2; });
  add("predicted reservation", [](Way& w) { w.engine.admission_policy = "predicted", w.engine.length_predictor = "buckets"; });
  add("batches by predicted length", [](Way& w) { w.engine.batching = "length-binned", w.engine.length_predictor = "running-mean"; });
  add("static slots", [](Way& w) { w.engine.kv_allocator = "static", w.engine.prefix_cache = "none", w.engine.block_tokens = 5, w.engine.kv_blocks = 413; });
  add("virtual memory", [](Way& w) { w.engine.kv_allocator = "virtual"; });
  add("virtual memory, two threads, a small pool", [](Way& w) { w.engine.kv_allocator = "virtual", w.threads = 2, w.engine.kv_blocks = 26, w.engine.max_num_seqs = 6; });
  add("virtual memory, radix prefix cache, one at a time", [](Way& w) { w.engine.kv_allocator = "virtual", w.engine.block_tokens = 4, w.engine.kv_blocks = 1600, w.one_at_a_time = true; });
  add("block size 1", [](Way& w) { w.engine.block_tokens = 1, w.engine.kv_blocks = 6400; });
  add("block size 5", [](Way& w) { w.engine.block_tokens = 5, w.engine.kv_blocks = 1280, w.on_ref = true; });
  add("block size 256", [](Way& w) { w.engine.block_tokens = 256, w.engine.kv_blocks = 40; });
  add("pages for the last tokens, one at a time", [](Way& w) { w.spare_pages = 200, w.one_at_a_time = true; });
  add("fewest pages for the last tokens, two threads", [](Way& w) { w.spare_pages = 0, w.threads = 2, w.engine.block_tokens = 4, w.engine.kv_blocks = 1600, w.engine.max_num_batched_tokens = 60; });
  add("few pages for the last tokens, hash prefix cache, one at a time", [](Way& w) { w.spare_pages = 3, w.one_at_a_time = true, w.engine.prefix_cache = "hash", w.on_ref = true; });
  add("few pages for the last tokens, preempted", [](Way& w) { w.spare_pages = 40, w.engine.kv_blocks = 79, w.engine.block_tokens = 4, w.engine.max_model_len = 312, w.engine.max_num_batched_tokens = 64; });
  add("prefix cache off", [](Way& w) { w.engine.prefix_cache = "none"; });
  add("hash prefix cache, one at a time", [](Way& w) { w.engine.prefix_cache = "hash", w.one_at_a_time = true; });
  add("radix prefix cache, one at a time", [](Way& w) { w.one_at_a_time = true, w.on_ref = true; });
  add("a pool so small that sequences are preempted", [](Way& w) { w.engine.kv_blocks = 79, w.engine.block_tokens = 4, w.engine.max_model_len = 312, w.engine.chunked_prefill_size = 256, w.engine.prefix_cache = "none"; });
  add("the same with the prefix cache", [](Way& w) { w.on_ref = true; w.engine.kv_blocks = 79, w.engine.block_tokens = 4, w.engine.max_model_len = 312, w.engine.chunked_prefill_size = 256, w.threads = 2; });
  const auto small_pool = [](Way& w) { w.engine.kv_blocks = 79, w.engine.block_tokens = 4, w.engine.max_model_len = 312, w.engine.chunked_prefill_size = 256; };
  add("preempted, and loaded from host memory", [&](Way& w) { small_pool(w), w.engine.prefix_cache = "none", w.engine.kv_restore = "load", w.engine.host_blocks = 600; });
  add("preempted, and loaded from disk", [&](Way& w) { small_pool(w), w.on_ref = true, w.threads = 2, w.engine.kv_restore = "load", w.engine.disk_blocks = 600; });
  add("tiers too small for what is preempted", [&](Way& w) { small_pool(w), w.engine.kv_restore = "load", w.engine.host_blocks = 20, w.engine.disk_blocks = 60; });
  add("all KV offloaded", [](Way& w) { w.offload = 1, w.offload_to_disk = true; });
  add("all KV offloaded, read two layers ahead, two threads, one at a time", [](Way& w) { w.offload = 1, w.offload_depth = 2, w.threads = 2, w.one_at_a_time = true; });
  add("half of it, in chunks of seven", [](Way& w) { w.offload = 0.5, w.engine.max_num_batched_tokens = 7, w.engine.block_tokens = 5, w.engine.kv_blocks = 1280; });
  add("offloaded, preempted", [&](Way& w) { small_pool(w), w.offload = 0.9, w.threads = 2, w.on_ref = true; });
  add("offloaded, preempted, and loaded from host memory", [&](Way& w) { small_pool(w), w.offload = 1, w.engine.prefix_cache = "none", w.engine.kv_restore = "load", w.engine.host_blocks = 600; });
  for (const QueuePolicyEntry& queue : queue_catalog().subspan(1))  // the first is everybody else's
    add("three seats under " + std::string(queue.name), [&](Way& w) { w.engine.scheduling_policy = queue.name, w.engine.max_num_seqs = 3, w.engine.kv_blocks = 40; });
  if (kThreadSanitizer) std::erase_if(list, [](const Named& named) { return named.way.threads == 1; });
  return list;
}

/// Some of the combinations that tests/property/combinations_test.cpp walks, in a pool in which some have to give way.
std::vector<Named> combined_ways() {
  Rng rng(29);
  const auto pick = [&rng](auto catalog) { return std::string(catalog[rng.below(catalog.size())].name); };
  std::vector<Named> list;
  while (list.size() < 12) {
    Way way{roomy()};
    EngineOptions& o = way.engine;
    o.scheduling_policy = pick(queue_catalog()), o.chunk_policy = pick(chunk_catalog()), o.batching = pick(batching_catalog());
    o.admission_policy = pick(admission_catalog()), o.preemption_policy = pick(preempt_catalog()), o.prefix_cache = pick(prefix_cache_catalog());
    o.kv_blocks = 79, o.block_tokens = 4, o.max_model_len = 312, o.max_num_batched_tokens = 96;
    way.threads = 1 + static_cast<int>(rng.below(2));
    if (check_engine_options(o).ok())
      list.push_back({fmt::format("{}, {}, {}, {}, {}, {}", o.scheduling_policy, o.chunk_policy, o.batching, o.admission_policy, o.preemption_policy, o.prefix_cache), way});
  }
  return list;
}

/// `weights`: the type of the model's matrices. Tables that share its kernels are one path, and run once.
/// `only_third`: of the ways, every third from this one on, and those without which nothing is preempted, loaded or found.
void expect_all_ways_equal(const std::shared_ptr<TensorSource>& source, DType weights, int64_t vocab, const KvFormats& kv, uint64_t seed, std::optional<size_t> only_third = {}) {
  static const std::set<std::string_view> kEverywhere = {"radix prefix cache, one at a time", "the same with the prefix cache", "preempted, and loaded from host memory",
                                                         "preempted, and loaded from disk"};
  const std::vector<Named> all = ways();
  const std::vector<Request> requests = mixed_requests(vocab, seed);
  std::set<std::pair<MatmulFn*, const RowOps*>> seen;
  for (const OpTable* table : op_tables()) {
    if (!table->lacks().empty() || !seen.emplace(table->matmul[static_cast<int>(weights)], table->row).second) continue;
    SCOPED_TRACE(std::string(table->isa));
    Way alone{roomy(), 1, kv, true};
    alone.engine.prefix_cache = "none";
    const Run reference = run(source, *table, alone, requests);
    ASSERT_EQ(reference.traces.size(), requests.size() + 3);
    bool preempted = false, hit = false, from_host = false, from_disk = false;
    for (size_t i = 0; i < all.size(); ++i) {
      Named named = all[i];
      if (only_third && i % 3 != *only_third % 3 && !kEverywhere.contains(named.name)) continue;
      if (table->row == &kRefRowOps && !named.way.on_ref) continue;
      if (kv.single_by_token() == nullptr && named.way.engine.kv_allocator == "virtual") continue;  // refused: its page groups are no blocks of the format
      if (kv.single_by_token() == nullptr && named.way.offload > 0) continue;  // refused: its windows neither
      SCOPED_TRACE(named.name);
      named.way.kv = kv;
      const Run other = run(source, *table, named.way, requests);
      ASSERT_EQ(other.traces, taken(named.way, requests, reference.traces));
      preempted |= other.stats.preemptions > 0;
      hit |= other.stats.prefix_hits_tokens > 0;
      from_host |= other.stats.tiers.loaded_host > 0;
      from_disk |= other.stats.tiers.loaded_disk > 0;
    }
    EXPECT_TRUE(preempted) << "no way led to a preemption: the test tests less than it says";
    EXPECT_TRUE(hit) << "no way led to a prefix hit";
    EXPECT_TRUE((from_host || kThreadSanitizer || table->row == &kRefRowOps) && from_disk) << "no way loaded blocks from other tiers";
  }
}

TEST(Exactness, TrainedModel) {
  auto source = open_tensor_source(SLUICE_SOURCE_DIR "/models/stories260K.gguf");
  ASSERT_TRUE(source.ok()) << source.error().message;
  uint64_t seed = 1;
  for (const KvFormat* kv : {&kKvF32, &kKvF16, &kKvInt8, &kKvFp8, &kKvInt4, &kKvKivi2, &kKvKivi4, &kKvBF16}) {
    SCOPED_TRACE(std::string(kv->name));
    expect_all_ways_equal(*source, DType::f32, 512, *kv, seed++);
  }
}

// A format that encodes token by token, and two that encode blocks of different groups, in one model; those with the larger
// blocks alone; and one that encodes two layers together. (In blocks of 64 few prompts leave a full one when their sequence is preempted: these do.)
TEST(Exactness, FormatsPerLayerAndBlocksOf64) {
  auto source = open_tensor_source(SLUICE_SOURCE_DIR "/models/stories260K.gguf");
  ASSERT_TRUE(source.ok()) << source.error().message;
  for (const char* const text : {"int8:0-1,gear4:3,kivi4", "gear4", "kvquant3", "int8:0,kivi4,minicache:3-4"}) {
    SCOPED_TRACE(text);
    const auto formats = KvFormats::parse(text);
    ASSERT_TRUE(formats.ok()) << formats.error().message;
    expect_all_ways_equal(*source, DType::f32, 512, *formats, 41);
  }
}

// A small random model of each kind: what is kept of a token, what a row sees, what it goes through.
TEST(Exactness, EveryKindOfModel) {
  static const std::set<std::string_view> kTried = {"batched", "two threads", "chunks of one token", "steps of 24 tokens", "block size 5", "block size 256", "static batches",
                                                    "hash prefix cache, one at a time", "the same with the prefix cache", "preempted, and loaded from disk",
                                                    "preempted, and loaded from host memory", "three seats under mlfq", "pages for the last tokens, one at a time",
                                                    "fewest pages for the last tokens, two threads", "few pages for the last tokens, hash prefix cache, one at a time",
                                                    "few pages for the last tokens, preempted"};
  uint64_t seed = 60;
  for (const char* const name : {"qwen2_moe", "gpt_oss", "gemma3_text", "deepseek_v3", "llama4_text", "falcon_rw", "mamba", "mamba2", "rwkv4", "rwkv7", "retnet", "qwen3_next", "jamba",
                                 "nemotron_h_moe", "falcon_h1"}) {
    SCOPED_TRACE(name);
    const auto source = open_tensor_source(fmt::format("{}/tests/data/families/{}", SLUICE_SOURCE_DIR, name));
    ASSERT_TRUE(source.ok()) << source.error().message;
    const auto plan = plan_model(**source);
    ASSERT_TRUE(plan.ok()) << plan.error().message;
    const std::vector<Request> requests = mixed_requests(plan->info.vocab_size, seed++);
    const OpTable* table = *select_op_table("");
    for (const KvFormat* kv : {&kKvF16, &kKvInt8}) {
      Way alone{roomy(), 1, *kv, true};
      alone.engine.prefix_cache = "none";
      const auto reference = run(*source, *table, alone, requests);
      bool preempted = false, hit = false, loaded = false, reclaimed = plan->kv.recent_reach(16) == 0, hit_with_pages = reclaimed;
      for (Named named : ways()) {
        if (!kTried.contains(named.name)) continue;
        SCOPED_TRACE(named.name);
        named.way.kv = *kv;
        const auto other = run(*source, *table, named.way, requests);
        ASSERT_EQ(other.traces, taken(named.way, requests, reference.traces));
        preempted |= other.stats.preemptions > 0;
        hit |= other.stats.prefix_hits_tokens > 0;
        loaded |= other.stats.tiers.loaded_disk > 0;
        reclaimed |= other.stats.kv_pages_reclaimed > 0;
        hit_with_pages |= other.stats.kv_pages > 0 && other.stats.prefix_hits_tokens > 0;
      }
      EXPECT_TRUE(preempted && hit && loaded && reclaimed && hit_with_pages) << "the test tests less than it says";
    }
  }
}

TEST(Exactness, AfterARestartPrefixesComeFromDisk) {
  const auto source = open_tensor_source(SLUICE_SOURCE_DIR "/models/stories260K.gguf");
  ASSERT_TRUE(source.ok()) << source.error().message;
  const OpTable* table = *select_op_table("");
  const std::vector<Request> requests = mixed_requests(512, 3);
  Way way{roomy()};
  way.engine.kv_restore = "load", way.engine.disk_blocks = 400, way.disk = temporary_file();
  std::remove(way.disk.c_str());
  const auto before = run(*source, *table, way, requests);
  const auto after = run(*source, *table, way, requests);
  std::remove(way.disk.c_str());
  EXPECT_EQ(after.traces, before.traces);
  EXPECT_GT(after.stats.tiers.loaded_disk, 10u);
  EXPECT_LT(after.stats.prompt_tokens_computed, before.stats.prompt_tokens_computed);
}

TEST(Exactness, CombinedPolicies) {
  const auto source = open_tensor_source(SLUICE_SOURCE_DIR "/models/stories260K.gguf");
  ASSERT_TRUE(source.ok()) << source.error().message;
  const OpTable* table = *select_op_table("");
  const std::vector<Request> requests = mixed_requests(512, 5);
  for (const KvFormat* kv : {&kKvF16, &kKvInt8, &kKvKivi2}) {
    Way alone{roomy(), 1, *kv, true};
    alone.engine.prefix_cache = "none";
    const auto reference = run(*source, *table, alone, requests);
    for (Named named : combined_ways()) {
      SCOPED_TRACE(fmt::format("{}, {}", named.name, kv->name));
      named.way.kv = *kv;
      ASSERT_EQ(run(*source, *table, named.way, requests).traces, taken(named.way, requests, reference.traces));
    }
  }
}

// What a policy lets go of is a function of the sequence: whatever the batch, the chunks, the blocks and the preemptions.
TEST(Exactness, KvRetention) {
  const auto source = open_tensor_source(SLUICE_SOURCE_DIR "/models/stories260K.gguf");
  ASSERT_TRUE(source.ok()) << source.error().message;
  const OpTable* table = *select_op_table("");
  const std::vector<Request> requests = mixed_requests(512, 7);
  Way whole{roomy(), 1, kKvF32, true};
  const auto everything = run(*source, *table, whole, requests);
  for (const RetentionEntry& policy : retention_catalog()) {
    SCOPED_TRACE(std::string(policy.name));
    const bool evicts = policy.make({})->evicts();
    const KvFormat* const narrow = policy.make({})->positions_in_cache() ? &kKvF16 : &kKvInt8;
    for (const KvFormat* kv : {&kKvF32, narrow}) {
      if (kThreadSanitizer && kv != narrow) continue;
      const auto with = [&](Way way) {
        way.kv = *kv;
        way.engine.kv_retention = policy.name;
        if (evicts && kv == &kKvF32) way.engine.retention.budget_tokens = 48;
        if (evicts && kv == narrow) way.engine.retention = {.prompt_share = 0.5, .stride_tokens = 1};
        return way;
      };
      const Way alone = with(whole);
      const auto reference = run(*source, *table, alone, requests);
      EXPECT_EQ(reference.stats.kv_evicted_tokens > 100, evicts);
      if (kv == &kKvF32) {
        EXPECT_EQ(reference.traces == everything.traces, !evicts);
      }
      bool preempted = false;
      static const std::set<std::string_view> kTried = {"three threads", "chunks of one token", "chunks of seven", "steps of 24 tokens", "static batches", "block size 1",
                                                        "block size 5", "block size 256", "a pool so small that sequences are preempted", "the same with the prefix cache",
                                                        "three seats under priority-aging", "three seats under mlfq"};
      for (const Named& named : ways()) {
        if (!kTried.contains(named.name)) continue;
        SCOPED_TRACE(named.name);
        const Way way = with(named.way);
        ASSERT_TRUE(check_engine_options(way.engine).ok());
        const auto other = run(*source, *table, way, requests);
        ASSERT_EQ(other.traces, taken(way, requests, reference.traces));
        preempted |= other.stats.preemptions > 0 && other.stats.kv_evictions > 0;
      }
      EXPECT_TRUE(preempted || !evicts) << "no sequence that had let go of something was preempted";
      if (!evicts || kv != &kKvF32) continue;
      Way roomy_budget = alone;
      roomy_budget.engine.retention.budget_tokens = roomy_budget.engine.max_model_len;
      EXPECT_EQ(run(*source, *table, roomy_budget, requests).traces, everything.traces) << "a budget for everything is no approximation";
    }
  }
}

TEST(Exactness, APromptIsScoredAsItsTokensWereWhenTheyWereSampled) {
  const auto source = open_tensor_source(SLUICE_SOURCE_DIR "/models/stories260K.gguf");
  ASSERT_TRUE(source.ok()) << source.error().message;
  const OpTable* table = *select_op_table("");
  Request sampled;
  sampled.prompt = {1, 403, 407, 261};
  sampled.max_tokens = 200;
  sampled.ignore_eos = true;
  sampled.sampling.logprobs = 3;
  const Trace first = run(*source, *table, {roomy()}, {sampled}).traces.at({0, 0});
  ASSERT_EQ(first.tokens.size(), 200u);

  Request scored = sampled;
  scored.prompt.insert(scored.prompt.end(), first.tokens.begin(), first.tokens.end());
  scored.max_tokens = 1;
  scored.prompt_logprobs = 3;
  scored.sampling.logprobs = -1;
  Request other = scored;  // the same prompt, not scored, which leaves all of it in the prefix cache
  other.prompt_logprobs = -1;
  for (Named& named : ways()) {
    SCOPED_TRACE(named.name);
    const Traces got = run(*source, *table, named.way, {other, scored, other, scored}).traces;
    for (const size_t request : {1, 3}) {
      const Trace& trace = got.at({request, 0});
      // Three tokens of the prompt, the sampled ones, and one more; each scored one has its logprob and its top 3.
      ASSERT_EQ(trace.tokens.size(), 3 + first.tokens.size() + 1);
      ASSERT_EQ(trace.logprobs.size(), 4 * (3 + first.tokens.size()) + 1);
      EXPECT_TRUE(std::equal(first.tokens.begin(), first.tokens.end(), trace.tokens.begin() + 3));
      EXPECT_TRUE(std::equal(first.logprobs.begin(), first.logprobs.end(), trace.logprobs.begin() + 12));
    }
  }
}

// As wide as there are continuations, a beam search is exhaustive: of all that max_tokens allows, it finds the best.
TEST(Exactness, WideBeamsAreExhaustiveSearch) {
  test::RandomDecoder shape;
  shape.vocab = 6, shape.dtype = DType::f32, shape.seed = 5;
  const auto source = test::random_decoder(shape);
  const OpTable* table = *select_op_table("");
  constexpr int kDepth = 3, kVocab = 6, kEnd = 2;
  const std::vector<TokenId> prompt = {1, 4, 3};
  for (const float penalty : {0.0f, 1.0f, 2.0f}) {
    // Every line of tokens that ends, scored as a prompt.
    std::vector<std::vector<TokenId>> lines;
    for (int i = 0; i < kVocab * kVocab * kVocab; ++i) {
      std::vector<TokenId> line = {i / (kVocab * kVocab), i / kVocab % kVocab, i % kVocab};
      if (const auto end = std::ranges::find(line, kEnd); end != line.end()) line.erase(end + 1, line.end());
      if (std::ranges::find(lines, line) == lines.end()) lines.push_back(line);
    }
    std::vector<Request> requests;
    for (const auto& line : lines) {
      Request r;
      r.prompt = prompt;
      r.prompt.insert(r.prompt.end(), line.begin(), line.end());
      r.max_tokens = 1;
      r.prompt_logprobs = 0;
      requests.push_back(std::move(r));
    }
    const Traces scored = run(source, *table, {roomy()}, requests).traces;
    std::vector<std::pair<double, size_t>> ranking;
    for (size_t i = 0; i < lines.size(); ++i) {
      const std::vector<uint32_t>& bits = scored.at({i, 0}).logprobs;
      double sum = 0;
      for (size_t t = 0; t < lines[i].size(); ++t) sum += static_cast<double>(std::bit_cast<float>(bits[prompt.size() - 1 + t]));
      ranking.emplace_back(-sum / std::pow(static_cast<double>(lines[i].size()), static_cast<double>(penalty)), i);
    }
    std::ranges::sort(ranking);
    Request beams;
    beams.prompt = prompt;
    beams.max_tokens = kDepth;
    beams.eos_token_ids = {kEnd};
    beams.beam_width = kVocab * kVocab * kVocab;
    beams.n = 20;
    beams.length_penalty = penalty;
    const Traces found = run(source, *table, {roomy(), 2}, {beams}).traces;
    ASSERT_EQ(found.size(), 20u);
    for (int i = 0; i < 20; ++i) EXPECT_EQ(found.at({0, i}).tokens, lines[ranking[static_cast<size_t>(i)].second]) << "penalty " << penalty << ", place " << i;
  }
}

// Sequences that find the same prefix in the cache, and samples of one prompt, read its keys and values together: in the bits that
// each gets alone, with the prefix cache off.
TEST(Exactness, SharedPrefixesAreReadTogether) {
  test::RandomDecoder shape;
  shape.heads = 6, shape.vocab = 97, shape.dtype = DType::f16;
  const auto source = test::random_decoder(shape);
  Rng rng(40);
  std::vector<TokenId> prefix;
  for (int i = 0; i < 1100; ++i) prefix.push_back(static_cast<TokenId>(rng.below(97)));
  std::vector<Request> requests;
  for (const int shared : {1100, 1100, 800, 1100, 600, 1100, 40}) {
    Request r;
    r.prompt.assign(prefix.begin(), prefix.begin() + shared);
    for (int64_t own = rng.between(1, 40); own > 0; --own) r.prompt.push_back(static_cast<TokenId>(rng.below(97)));
    r.max_tokens = static_cast<int>(rng.between(20, 40));
    r.n = shared == 800 ? 3 : 1;
    r.sampling.temperature = 1;
    r.sampling.seed = static_cast<uint64_t>(shared) + requests.size();
    r.sampling.logprobs = 2;
    requests.push_back(std::move(r));
  }
  EngineOptions options = roomy();
  options.kv_blocks = 900, options.max_model_len = 1300;
  for (const OpTable* table : {*select_op_table("ref"), *select_op_table("")})
    for (const KvFormat* kv : {&kKvF16, &kKvInt8, &kKvKivi4}) {
      SCOPED_TRACE(fmt::format("{}, KV {}", table->isa, kv->name));
      Way alone{options, 2, *kv, true};
      alone.engine.prefix_cache = "none";
      const auto reference = run(source, *table, alone, requests);
      for (const int threads : {1, 3}) {
        const auto shared = run(source, *table, {options, threads, *kv}, requests);
        EXPECT_EQ(shared.traces, reference.traces);
        EXPECT_LT(shared.attention_bytes, 0.6 * reference.attention_bytes);
        if (table->row == &kRefRowOps) break;
      }
    }
}

TEST(Exactness, RandomShapesInEveryFormat) {
  // Odd sizes reach every tail: heads of 24 in groups of 3, a feed-forward width and a vocabulary that no tile divides.
  struct Case { test::RandomDecoder model; const KvFormat& kv; };
  const auto shape = [](DType dtype, int64_t hidden, int64_t ffn, int64_t heads, int64_t kv_heads, int64_t head_dim, int64_t vocab) {
    test::RandomDecoder d;
    d.dtype = dtype, d.hidden = hidden, d.ffn = ffn, d.heads = heads, d.kv_heads = kv_heads, d.head_dim = head_dim, d.vocab = vocab;
    return d;
  };
  const Case cases[] = {
      {shape(DType::f32, 72, 100, 3, 1, 24, 261), kKvF32},   {shape(DType::f16, 64, 96, 8, 8, 8, 97), kKvF16},
      {shape(DType::bf16, 80, 112, 5, 5, 16, 131), kKvBF16}, {shape(DType::q8_0, 96, 160, 6, 2, 32, 263), kKvF16},
      {shape(DType::q4_0, 160, 224, 4, 1, 80, 199), kKvF32}, {shape(DType::q4_k, 256, 512, 4, 2, 64, 301), kKvF16},
      {shape(DType::q6_k, 256, 256, 14, 2, 64, 177), kKvBF16}, {shape(DType::q5_k, 256, 256, 4, 4, 64, 90), kKvF32},
      {shape(DType::mxfp4, 96, 160, 6, 2, 32, 101), kKvF16}, {shape(DType::i8_g128, 128, 384, 4, 2, 32, 167), kKvF16},
      {shape(DType::f32, 72, 100, 3, 1, 24, 83), kKvInt8},       {shape(DType::q8_0, 96, 96, 14, 2, 80, 77), kKvInt8},
      {shape(DType::q8_0, 96, 96, 14, 2, 20, 77), kKvInt4},      {shape(DType::f16, 72, 100, 3, 1, 24, 83), kKvFp8},
      {shape(DType::q8_0, 96, 160, 6, 2, 20, 77), kKvKivi2},     {shape(DType::f16, 72, 100, 3, 1, 24, 83), kKvKivi4},
  };
  // A shape is for what kernels do with it, a way for what the engine does, and TrainedModel has every way: here each meets
  // a third of the others, in turn.
  uint64_t seed = 10;
  for (const Case& c : cases) {
    if (kThreadSanitizer && c.model.dtype != DType::f16 && c.model.dtype != DType::q8_0 && c.model.dtype != DType::q6_k) continue;
    SCOPED_TRACE(fmt::format("{} with KV {}", dtype_name(c.model.dtype), c.kv.name));
    test::RandomDecoder model = c.model;
    model.seed = seed;
    expect_all_ways_equal(test::random_decoder(model), model.dtype, model.vocab, c.kv, seed, seed);
    ++seed;
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace sluice
