#include <cmath>

#include "lab/workloads.h"

namespace sluice::lab {
namespace {

/// Standard deviation over mean of the sizes of all steps at whose end requests still waited.
double variation(const Run& run) {
  double n = 0, sum = 0, squares = 0;
  for (const StepRecord& s : run.steps)
    if (s.waiting > 0) n += 1, sum += s.tokens, squares += double(s.tokens) * s.tokens;
  const double mean = sum / n;
  return n > 0 ? std::sqrt(std::max(0.0, squares / n - mean * mean)) / mean : 0;
}

Result<Finding> run_split_and_fuse(const Setting& setting) {
  const Load load = mixed_lengths(kSimulatedVocab, {.n = setting.quick ? 300 : 2000, .prompt_mean = 400, .output_mean = 64, .output_most = 400, .rate = 6});
  EngineOptions options = engine_options(2048, 64 * 2048);
  options.max_num_seqs = 64;
  EngineOptions prefill_first = options, fused = options;
  prefill_first.chunk_policy = "prefill-first";
  fused.chunk_policy = "split-and-fuse";
  SLUICE_TRY(const Run first, simulate(prefill_first, load));
  SLUICE_TRY(const Run knee, simulate(fused, load));
  const int size = *knee_tokens(CostStepTime(StepCost::built_in()), options.max_num_batched_tokens);
  double best = 0;
  for (int tokens = 16; tokens <= options.max_num_batched_tokens; tokens *= 2) {
    fused.forward_tokens = tokens;
    SLUICE_TRY(const Run swept, simulate(fused, load));
    best = std::max(best, swept.report.total_token_throughput);
  }

  Finding f;
  std::string why;
  f.must("the same outputs", same_outputs(first, knee, &why), why);
  f.must("under load all steps have the same size", variation(knee) < 0.02, fmt::format("standard deviation {:.2f} % of {} tokens", 100 * variation(knee), size));
  f.must("the size is at the knee: nine tenths of the best throughput of any size", knee.report.total_token_throughput >= 0.9 * best,
         fmt::format("{:.0f} of {:.0f} tok/s", knee.report.total_token_throughput, best));
  f.effect = {"simulated p99 time between tokens, prefill-first and steps of one size", "ms", first.report.itl_ms.p99, knee.report.itl_ms.p99, Better::lower, false};
  f.count("standard deviation of step sizes over their mean", variation(first), variation(knee));
  f.count("total tok/s", first.report.total_token_throughput, knee.report.total_token_throughput);
  f.count("p99 E2EL, ms", first.report.e2el_ms.p99, knee.report.e2el_ms.p99);
  return f;
}

}  // namespace

extern const Experiment kSplitAndFuse;
const Experiment kSplitAndFuse = {
    .name = "split-and-fuse",
    .ids = "B7",
    .group = "batching",
    .technique = "Dynamic SplitFuse: every step has the same size, at the knee of throughput",
    .paper = "Holmes et al., DeepSpeed-FastGen, 2024",
    .file = "src/sched/chunk/split_and_fuse.h",
    .flag = "`--chunk-policy split-and-fuse`, `--forward-tokens N`",
    .test = "`src/sched/step_time_test.cpp`, `tests/property`, `tests/exactness`",
    .baseline = "`--chunk-policy prefill-first`",
    .workload = "simulated, prompts of up to 800 tokens, more than can be served",
    .holds = "lossless; sizes of steps do not vary under load; the size chosen reaches nine tenths of the best throughput",
    .run = run_split_and_fuse};

}  // namespace sluice::lab
