#include "lab/workloads.h"

namespace sluice::lab {
namespace {

Result<Finding> run_in_flight_prefix(const Setting& setting) {
  constexpr int kPrefix = 1000, kOwn = 16;
  const int n = setting.quick ? 32 : 128;
  const Load load = shared_prefix(32000, n, kPrefix, kOwn, 16);
  EngineOptions options = engine_options(1100, 64 * 1100);
  options.max_num_batched_tokens = 512;
  options.prefix_cache = "none";
  SLUICE_TRY(const Run without, simulate(options, load));
  options.prefix_cache = "radix";
  SLUICE_TRY(const Run with, simulate(options, load));

  Finding f;
  f.must("every request is served", without.failed() + with.failed() == 0);
  const int once = kPrefix / options.block_tokens * options.block_tokens, rest = kPrefix - once + kOwn;
  f.must("what is shared is computed once, though all came at once",
         with.stats.prompt_tokens_computed == static_cast<uint64_t>(once + n * rest),
         fmt::format("{} tokens, {} expected", with.stats.prompt_tokens_computed, once + n * rest));
  f.effect = {fmt::format("simulated TTFT of {} at once, mean", n), "ms", without.report.ttft_ms.mean, with.report.ttft_ms.mean, Better::lower, false};
  f.count("prompt tokens computed", static_cast<double>(without.stats.prompt_tokens_computed), static_cast<double>(with.stats.prompt_tokens_computed));
  return f;
}

}  // namespace

extern const Experiment kInFlightPrefix;
const Experiment kInFlightPrefix = {
    .name = "in-flight-prefix",
    .ids = "V7",
    .group = "kv",
    .technique = "Waiting for a prefix that another request is computing",
    .paper = "after Zheng et al., SGLang, NeurIPS 2024",
    .file = "src/sched/gate/in_flight_prefix.h",
    .flag = "with any `--prefix-cache`",
    .test = "`PrefixThatIsBeingComputedIsComputedOnce`",
    .baseline = "no prefix cache",
    .workload = "simulated, 32 prompts that share 1,000 tokens, all at once",
    .holds = "lossless; the shared part is computed once",
    .run = run_in_flight_prefix};

}  // namespace sluice::lab
