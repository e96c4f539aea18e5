#include "lab/workloads.h"

namespace sluice::lab {
namespace {

/// Conversations that take turns: each turn sends all that was said before, and something new. The answers are made up,
/// so that every run sends the same.
struct Conversations {
  Load load;
  std::vector<int> turn;  // of each request, from 0
  int new_tokens = 0;     // a turn
};

Conversations make(int64_t vocab, int conversations, int turns, int said, int answered) {
  Conversations c;
  c.new_tokens = said + answered;
  Rng rng(21);
  std::vector<std::vector<TokenId>> history(static_cast<size_t>(conversations));
  for (int t = 0; t < turns; ++t)
    for (auto& h : history) {
      const auto more = random_tokens(rng, vocab, t == 0 ? said : said + answered);
      h.insert(h.end(), more.begin(), more.end());
      c.load.requests.push_back(forced_request(h, 4, c.load.requests.size()));
      c.turn.push_back(t);
    }
  return c;
}

Result<Finding> run_multi_turn(const Setting& setting) {
  SLUICE_TRY(const auto bench, Bench::open(setting));
  const int conversations = 6, turns = setting.quick ? 5 : 8, said = 96, answered = 64;
  const int context = said + (turns - 1) * (said + answered) + 16;
  if (context > bench->max_positions()) {
    Finding f;
    f.absent(fmt::format("{} turns need a context of {}, this model's is {}", turns, context, bench->max_positions()));
    return f;
  }
  const Conversations c = make(bench->vocab(), conversations, turns, said, answered);
  // A cache for one conversation and a half: by the time that one returns its prefix is gone.
  EngineOptions options = engine_options(context, context * 3 / 2);
  options.max_num_seqs = 1;
  SLUICE_TRY(const Run without, bench->run(options, c.load));
  options.disk_blocks = conversations * (context / options.block_tokens + 1);
  options.host_blocks = options.disk_blocks / 3;
  options.kv_restore = "load";
  SLUICE_TRY(const Run with, bench->run(options, c.load, kKvF32, setting.scratch + "/kv"));

  Finding f;
  std::string why;
  const bool same = same_outputs(without, with, &why);
  f.must("equal bits with and without the tiers", same, why);
  // Of each turn but the first: what is new, the answer's last block that was not full, and the last block again.
  const uint64_t most = static_cast<uint64_t>(conversations) * (said + (turns - 1) * (said + answered + 2 * options.block_tokens));
  f.must("a turn computes its new tokens, not its history", with.stats.prompt_tokens_computed <= most,
         fmt::format("{} prompt tokens computed, {} allowed", with.stats.prompt_tokens_computed, most));
  const auto turn_ms = [&](const Run& run) {  // of the last turns, from its turn to its first token
    std::vector<double> ms;
    for (size_t i = 1; i < run.records.size(); ++i)
      if (c.turn[i] == turns - 1)
        ms.push_back(static_cast<double>(run.records[i].token_times.front() - run.records[i - 1].token_times.back()) / 1e6);
    return spread_of(std::move(ms)).median;
  };
  f.effect = {fmt::format("time to first token of turn {}, median", turns), "ms", turn_ms(without), turn_ms(with), Better::lower, true};
  f.count("prompt tokens computed", static_cast<double>(without.stats.prompt_tokens_computed), static_cast<double>(with.stats.prompt_tokens_computed));
  f.count("blocks loaded from host memory", 0, static_cast<double>(with.stats.tiers.loaded_host));
  f.count("and from disk", 0, static_cast<double>(with.stats.tiers.loaded_disk));
  return f;
}

/// The tiers' policies on the simulator: who waits next is known, so what they need can be there before them.
Result<Finding> run_policies(const Setting& setting) {
  const int conversations = 24, turns = setting.quick ? 6 : 12;
  Conversations c = make(32000, conversations, turns, 200, 200);
  // Arrivals in bursts, in an order that differs from turn to turn: a queue to look at, and no cycle for LRU to fail on.
  Rng rng(5);
  Load load;
  for (int t = 0; t < turns; ++t) {
    std::vector<int> order(static_cast<size_t>(conversations));
    for (int i = 0; i < conversations; ++i) order[static_cast<size_t>(i)] = i;
    for (int i = conversations - 1; i > 0; --i) std::swap(order[static_cast<size_t>(i)], order[rng.below(static_cast<uint64_t>(i) + 1)]);
    for (const int i : order) {
      load.requests.push_back(c.load.requests[static_cast<size_t>(t * conversations + i)]);
      load.arrivals.push_back(static_cast<Nanos>(t) * 20'000'000'000);
    }
  }
  EngineOptions options = engine_options(400 * turns + 16, 4 * (400 * turns + 16));
  options.max_num_seqs = 2;
  options.kv_restore = "load";
  const int all_blocks = conversations * 400 * turns / options.block_tokens;
  options.disk_blocks = all_blocks;
  options.host_blocks = all_blocks / 4;
  options.kv_tier_policy = "lru";
  SLUICE_TRY(const Run lru, simulate(options, load));
  options.kv_tier_policy = "fifo";
  SLUICE_TRY(const Run fifo, simulate(options, load));
  options.kv_tier_policy = "queue-aware";
  SLUICE_TRY(const Run aware, simulate(options, load));

  Finding f;
  f.must("every request is served under each", lru.failed() + fifo.failed() + aware.failed() == 0);
  const auto host_share = [](const Run& run) {
    const double all = static_cast<double>(run.stats.tiers.loaded_host + run.stats.tiers.loaded_disk);
    return all > 0 ? 100 * static_cast<double>(run.stats.tiers.loaded_host) / all : 0;
  };
  f.must("more is found in host memory than under FIFO too", host_share(aware) > host_share(fifo),
         fmt::format("{:.1f} and {:.1f} %", host_share(aware), host_share(fifo)));
  f.effect = {"of the blocks loaded, found in host memory", "%", host_share(lru), host_share(aware), Better::higher, false};
  f.count("simulated TTFT, mean ms", lru.report.ttft_ms.mean, aware.report.ttft_ms.mean);
  f.count("blocks fetched ahead", static_cast<double>(lru.stats.tiers.fetched), static_cast<double>(aware.stats.tiers.fetched));
  return f;
}

}  // namespace

extern const Experiment kMultiTurn, kQueueAwareTiers;
const Experiment kMultiTurn = {
    .name = "multi-turn",
    .ids = "V9",
    .group = "kv",
    .technique = "KV tiers: every full block is kept in host memory and on disk, and loaded when its conversation returns",
    .paper = "Gao et al., CachedAttention, USENIX ATC 2024",
    .file = "src/kv/tier/tier_index.h",
    .flag = "`--kv-disk FILE --kv-disk-bytes N`, `--swap-space N`",
    .test = "`tests/exactness`, `tests/property` (with losses), `src/exec/block_file_test.cpp`, `src/kv/tier/tier_index_test.cpp`",
    .baseline = "the prefix cache alone, too small for all conversations",
    .workload = "6 conversations of 5 turns, one after the other",
    .holds = "lossless: equal bits; a turn computes its new tokens only",
    .run = run_multi_turn};
const Experiment kQueueAwareTiers = {
    .name = "queue-aware-tiers",
    .ids = "V9",
    .group = "kv",
    .technique = "Fetching and eviction between tiers by what the waiting queue needs",
    .paper = "Gao et al., CachedAttention, USENIX ATC 2024, 3.3",
    .file = "src/kv/tier/queue_aware.h",
    .flag = "`--kv-tier-policy queue-aware` (default)",
    .test = "`src/kv/tier/tier_index_test.cpp`, `tests/property`",
    .baseline = "`--kv-tier-policy lru`",
    .workload = "simulated, 24 conversations that return in random order, host memory for a quarter",
    .holds = "lossless; more blocks are found in host memory than under LRU and FIFO",
    .run = run_policies};

}  // namespace sluice::lab
