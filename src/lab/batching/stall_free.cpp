#include <cmath>

#include "lab/workloads.h"
#include "sched/step_time_fit.h"

namespace sluice::lab {
namespace {


/// A chat-like stream at `rate` per second (0: all at once), every 16th prompt long.
Load with_long_prompts(int n, double rate) {
  Load load = mixed_lengths(kSimulatedVocab, {.n = n, .prompt_mean = 32, .output_mean = 128, .output_most = 400, .rate = rate});
  Rng rng(13);
  for (size_t i = 8; i < load.requests.size(); i += 16) load.requests[i].prompt = random_tokens(rng, kSimulatedVocab, 1800);
  return load;
}

/// The server's estimate, and how far off it was at each step before it had seen it.
struct JudgedFit final : StepTimeEstimate {
  std::optional<double> step_ns(const StepShape& shape) const override { return fit.step_ns(shape); }
  void measured(const StepShape& shape, Nanos ns) override {
    if (const auto predicted = fit.step_ns(shape)) errors.push_back(std::abs(*predicted / static_cast<double>(ns) - 1));
    fit.measured(shape, ns);
  }
  StepTimeFit fit;
  std::vector<double> errors;
};

/// Percent by which half of the predictions for steps of the model on this machine are off, or less; timed.
Result<double> median_error(const Setting& setting) {
  SLUICE_TRY(const auto bench, Bench::open(setting));
  const auto judged = std::make_shared<JudgedFit>();
  EngineOptions options = engine_options(512, 32 * 512);
  options.tbt_target_ms = 20;
  options.max_num_seqs = 32;
  options.step_time = judged;
  SLUICE_TRY(const Run run, bench->run(options, mixed_lengths(bench->vocab(), {.n = 96, .prompt_mean = 120, .output_mean = 40, .output_most = 120})));
  return run.failed() == 0 ? 100 * spread_of(judged->errors).median : -1;
}

Result<Finding> run_stall_free(const Setting& setting) {
  constexpr double kTarget_ms = 200;
  const int n = setting.quick ? 320 : 1600;
  const Load load = with_long_prompts(n, 5), at_once = with_long_prompts(n, 0);
  EngineOptions options = engine_options(2304, 64 * 2304);
  options.max_num_seqs = 64;
  EngineOptions prefill_first = options, unbounded = options, target = options;
  prefill_first.chunk_policy = "prefill-first";
  unbounded.chunk_policy = "split-and-fuse";
  unbounded.forward_tokens = options.max_num_batched_tokens;
  target.tbt_target_ms = kTarget_ms;
  SLUICE_TRY(const Run first, simulate(prefill_first, load));
  SLUICE_TRY(const Run kept, simulate(target, load));
  SLUICE_TRY(const Run most, simulate(unbounded, at_once));
  SLUICE_TRY(const Run kept_at_once, simulate(target, at_once));

  Finding f;
  std::string why;
  f.must("the same outputs", same_outputs(first, kept, &why), why);
  f.must("p99 time between tokens is within the target", kept.report.itl_ms.p99 <= kTarget_ms && kept_at_once.report.itl_ms.p99 <= kTarget_ms,
         fmt::format("{:.1f} ms, and {:.1f} ms with everybody at once, of {:.0f}", kept.report.itl_ms.p99, kept_at_once.report.itl_ms.p99, kTarget_ms));
  f.must("where prefill-first exceeds it several times", first.report.itl_ms.p99 > 3 * kTarget_ms, fmt::format("{:.0f} ms", first.report.itl_ms.p99));
  const double share = kept_at_once.report.output_throughput / most.report.output_throughput;
  f.must("at least 95 % of the throughput of unbounded steps", share >= 0.95, fmt::format("{:.1f} %", 100 * share));
  f.effect = {fmt::format("simulated p99 time between tokens, target {:.0f} ms", kTarget_ms), "ms", first.report.itl_ms.p99, kept.report.itl_ms.p99, Better::lower, false};
  f.count("mean TTFT, ms", first.report.ttft_ms.mean, kept.report.ttft_ms.mean);
  f.count("p99 TTFT, ms", first.report.ttft_ms.p99, kept.report.ttft_ms.p99);
  f.count("output tok/s with everybody at once, unbounded steps and within the target", most.report.output_throughput, kept_at_once.report.output_throughput);
  SLUICE_TRY(const double error, median_error(setting));
  f.must("the estimate learns the steps of this machine", error >= 0);
  f.count("median error of the predicted step time, % (on the model here, as fitted while serving)", 0, error);
  return f;
}

}  // namespace

extern const Experiment kStallFree;
const Experiment kStallFree = {
    .name = "stall-free",
    .ids = "B6",
    .group = "batching",
    .technique = "Stall-free batching within a target for the time between tokens",
    .paper = "Agrawal et al., Sarathi-Serve, OSDI 2024",
    .file = "src/sched/chunk/stall_free.h",
    .flag = "`--chunk-policy stall-free --tbt-target-ms T`",
    .test = "`src/sched/step_time_test.cpp`, `tests/property`, `tests/exactness`",
    .baseline = "`--chunk-policy prefill-first`; unbounded steps for the throughput",
    .workload = "simulated, chat-like lengths, every 16th prompt 1,800 tokens long",
    .holds = "lossless; p99 time between tokens within the target while long prompts come; at least 95 % of the throughput",
    .run = run_stall_free};

}  // namespace sluice::lab
