#include "lab/workloads.h"

namespace sluice::lab {
namespace {

Result<Finding> run(const Setting& setting) {
  constexpr int kVocab = 32'000;
  const Mixed shape{.n = setting.quick ? 200 : 2000, .prompt_mean = 64, .output_mean = 64, .output_most = 512, .rate = 4};
  const Load load = mixed_lengths(kVocab, shape);
  EngineOptions options = engine_options(1024, 64 * 1024);
  options.max_num_seqs = 32;
  options.batching = "static";
  SLUICE_TRY(const Run fixed, simulate(options, load));
  options.batching = "continuous";
  SLUICE_TRY(const Run continuous, simulate(options, load));

  Finding f;
  f.must("every request is served under both", fixed.failed() + continuous.failed() == 0);
  f.must("no higher median latency at the same load", continuous.report.e2el_ms.median <= fixed.report.e2el_ms.median,
         fmt::format("median E2EL {:.0f} and {:.0f} ms", fixed.report.e2el_ms.median, continuous.report.e2el_ms.median));
  f.effect = {"simulated TTFT, mean", "ms", fixed.report.ttft_ms.mean, continuous.report.ttft_ms.mean, Better::lower, false};
  f.count("steps", static_cast<double>(fixed.stats.steps), static_cast<double>(continuous.stats.steps));
  f.count("output tok/s", fixed.report.output_throughput, continuous.report.output_throughput);
  return f;
}

}  // namespace

extern const Experiment kContinuous;
const Experiment kContinuous = {
    .name = "continuous",
    .ids = "B1 B3",
    .group = "batching",
    .technique = "Continuous (iteration-level) batching",
    .paper = "Yu et al., Orca, OSDI 2022",
    .file = "src/sched/scheduler.cpp",
    .flag = "`--batching continuous` (default)",
    .test = "`tests/property`, `src/sim/sim_test.cpp`",
    .baseline = "static batches of 32",
    .workload = "simulated, exponential output lengths, 4 requests a second",
    .holds = "lossless; lower latency at no less throughput",
    .run = run};

}  // namespace sluice::lab
