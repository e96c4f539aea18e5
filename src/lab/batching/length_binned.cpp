#include <algorithm>

#include "lab/scheduling/predicted_lengths.h"

namespace sluice::lab {
namespace {

/// What batches take that run to their end, were every seat computed in every step, and how much of it is for nothing.
struct Seats {
  double taken = 0, empty = 0;
};
Seats seats_of(const Run& run) {
  Seats s;
  std::vector<int> in_use;
  for (const StepRecord& step : run.steps) {
    in_use.push_back(step.running + step.finished);
    if (step.running > 0) continue;
    const int seats = std::ranges::max(in_use);
    for (const int used : in_use) s.taken += seats, s.empty += seats - used;
    in_use.clear();
  }
  return s;
}

Result<Finding> run_length_binned(const Setting& setting) {
  const int n = setting.quick ? 400 : 3000;
  EngineOptions options = engine_options(1024, 64 * 1024);
  options.max_num_seqs = 16;
  EngineOptions fixed = options, binned = options, oracle = options;
  fixed.batching = "static";
  binned.batching = oracle.batching = "length-binned";
  binned.length_predictor = "running-mean";
  oracle.length_predictor = "oracle";
  const Load ends = two_applications(n, 24, 200, 800, true, false), forced = two_applications(n, 24, 200, 800, true, true);
  SLUICE_TRY(const Run baseline, simulate(fixed, ends));
  SLUICE_TRY(const Run predicted, simulate(binned, ends));
  SLUICE_TRY(const Run known, simulate(oracle, forced));

  Finding f;
  std::string why;
  f.must("the same outputs, stopped and gone on with or not", same_outputs(baseline, predicted, &why) && same_outputs(baseline, known, &why), why);
  const Seats a = seats_of(baseline), b = seats_of(predicted), c = seats_of(known);
  f.must("fewer seats are empty", b.empty < a.empty && c.empty < b.empty,
         fmt::format("{:.0f} %, {:.0f} % with predictions, {:.0f} % with the true lengths", 100 * a.empty / a.taken, 100 * b.empty / b.taken, 100 * c.empty / c.taken));
  const double again = static_cast<double>(predicted.stats.tokens_recomputed);
  f.must("those who exceed their bin are collected", predicted.stats.preemptions > 0 && known.stats.preemptions == 0,
         fmt::format("{} of {}", predicted.stats.preemptions, n));
  f.effect = {"simulated work, seats times steps and what is computed again", "tokens", a.taken, b.taken + again, Better::lower, false};
  f.count("empty seats, in seats times steps", a.empty, b.empty);
  f.count("output tok/s", baseline.report.output_throughput, predicted.report.output_throughput);
  f.count("output tok/s with the true lengths", baseline.report.output_throughput, known.report.output_throughput);
  return f;
}

}  // namespace

extern const Experiment kLengthBinned;
const Experiment kLengthBinned = {
    .name = "length-binned",
    .ids = "B9",
    .group = "batching",
    .technique = "Batches by predicted response length, with failure collection",
    .paper = "Zheng et al., Response Length Perception and Sequence Scheduling, NeurIPS 2023",
    .file = "src/sched/gate/length_binned.h",
    .flag = "`--batching length-binned --length-predictor NAME`",
    .test = "`tests/property`, `tests/property/combinations_test.cpp`",
    .baseline = "`--batching static`: batches in order of arrival",
    .workload = "simulated, 400 requests at once of two applications, one with short and one with long outputs",
    .holds = "lossless; fewer empty seats, less work with what is computed again included",
    .run = run_length_binned};

}  // namespace sluice::lab
