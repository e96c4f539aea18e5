#include "lab/workloads.h"

namespace sluice::lab {
namespace {

/// Outputs so long that the sequences that were admitted do not fit in the end.
Load growing(int64_t vocab, int n, int output) {
  Load load;
  Rng rng(8);
  for (int i = 0; i < n; ++i) load.requests.push_back(forced_request(random_tokens(rng, vocab, 120), output, static_cast<uint64_t>(i)));
  return load;
}

Result<Finding> run_preemption(const Setting& setting) {
  SLUICE_TRY(const auto bench, Bench::open(setting));
  const int output = setting.quick ? 200 : 600, n = 8, context = std::min(120 + output + 16, bench->max_positions());
  const Load load = growing(bench->vocab(), n, context - 136);
  EngineOptions options = engine_options(context, n * context);
  options.prefix_cache = "none";
  SLUICE_TRY(const Run roomy, bench->run(options, load));
  options.kv_blocks /= 3;
  SLUICE_TRY(const Run recompute, bench->run(options, load));
  options.host_blocks = n * context / options.block_tokens;
  options.kv_restore = "load";
  SLUICE_TRY(const Run swap, bench->run(options, load));

  Finding f;
  std::string why;
  bool same = same_outputs(roomy, recompute, &why);
  f.must("equal bits when preempted and computed again", same, why);
  same = same_outputs(roomy, swap, &why);
  f.must("equal bits when preempted and loaded", same, why);
  f.must("sequences were preempted", recompute.stats.preemptions > 0 && swap.stats.preemptions > 0,
         fmt::format("{} and {} times", recompute.stats.preemptions, swap.stats.preemptions));
  // What is lost to a preemption is the last block, which was not full.
  f.must("a swapped sequence computes less than one block again",
         swap.stats.tokens_recomputed < swap.stats.preemptions * static_cast<uint64_t>(options.block_tokens),
         fmt::format("{} tokens after {} preemptions", swap.stats.tokens_recomputed, swap.stats.preemptions));
  f.effect = {"tokens computed again", "", static_cast<double>(recompute.stats.tokens_recomputed), static_cast<double>(swap.stats.tokens_recomputed),
              Better::lower, false};
  f.count("preemptions", static_cast<double>(recompute.stats.preemptions), static_cast<double>(swap.stats.preemptions));
  f.count("seconds in all", recompute.report.duration_s, swap.report.duration_s);
  return f;
}

/// The choice between both, where what each costs is known: the simulator's own prices.
Result<Finding> run_choice(const Setting&) {
  EngineOptions options = engine_options(1024, 8 * 340);
  options.max_num_seqs = 8;
  options.prefix_cache = "none";
  options.host_blocks = 1000;
  const Load load = growing(32000, 48, 600);
  Finding f;
  int right = 0, asked = 0;
  double worst_auto = 0, worst_load = 0;
  for (const double block_us : {100.0, 5e3, 2e4, 1e5}) {  // recomputing 16 tokens takes 8.8 ms
    const TierCost price{block_us * 1e3, block_us * 1e3};
    double seconds[3] = {};
    int at = 0;
    uint64_t loaded = 0;
    for (const char* restore : {"load", "recompute", "auto"}) {
      options.kv_restore = restore;
      SLUICE_TRY(const Run run, simulate(options, load, StepCost::built_in(), price));
      seconds[at++] = run.report.duration_s;
      loaded = run.stats.tiers.loaded_host;
    }
    const double best = std::min(seconds[0], seconds[1]);
    ++asked;
    right += seconds[2] <= best * 1.05;
    worst_auto = std::max(worst_auto, seconds[2] / best);
    worst_load = std::max(worst_load, seconds[0] / best);
    f.count(fmt::format("at {} ms a block: seconds by the better, and by choice", block_us / 1e3), best, seconds[2]);
    f.must(fmt::format("blocks are loaded where that is cheap ({} ms)", block_us / 1e3), (loaded > 100) == (block_us < 8000), fmt::format("{} loaded", loaded));
  }
  f.must("within 5 % of the better of both at every price", right == asked, fmt::format("{} of {} prices, {:.2f}x at worst", right, asked, worst_auto));
  f.effect = {"time over that of the better, at the worst price", "x", worst_load, worst_auto, Better::lower, false};
  return f;
}

}  // namespace

extern const Experiment kSwap, kRestoreChoice;
const Experiment kSwap = {
    .name = "swap",
    .ids = "V12",
    .group = "kv",
    .technique = "Preemption by swap: a preempted sequence's full blocks are in another tier already",
    .paper = "Kwon et al., PagedAttention, SOSP 2023, 4.5",
    .file = "src/kv/tier/tier_index.h",
    .flag = "`--swap-space N` (or `--kv-disk`), `--kv-restore load`",
    .test = "`tests/exactness`, `tests/property`",
    .baseline = "preemption by recomputation",
    .workload = "8 sequences in a cache for a third of them",
    .holds = "lossless: equal bits; less than a block a preemption is computed again",
    .run = run_preemption};
const Experiment kRestoreChoice = {
    .name = "restore-choice",
    .ids = "O9",
    .group = "kv",
    .technique = "Load or recompute, by what both have cost",
    .paper = "Kwon et al., PagedAttention, SOSP 2023, 7.3",
    .file = "src/kv/tier/restore.h",
    .flag = "`--kv-restore auto` (default)",
    .test = "`src/kv/tier/tier_index_test.cpp`",
    .baseline = "always load",
    .workload = "simulated preemption at prices of a block from 0.1 to 100 ms",
    .holds = "lossless; within 5 % of the better of both at every price",
    .run = run_choice};

}  // namespace sluice::lab
