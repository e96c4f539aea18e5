#include <algorithm>
#include <cmath>

#include "lab/batching/padding.h"
#include "lab/workloads.h"

namespace sluice::lab {
namespace {


Load load_at(double rate, const Setting& setting) {
  return mixed_lengths(kSimulatedVocab, {.n = setting.quick ? 400 : 2000, .prompt_mean = 32, .output_mean = 64, .output_most = 512, .rate = rate});
}

/// The highest rate at which the median latency is at most `limit_ms`, and the run at it.
Result<Run> fastest_within(const EngineOptions& options, double limit_ms, const Setting& setting) {
  double low = 0.05, high = 40;
  SLUICE_TRY(Run best, simulate(options, load_at(low, setting)));
  while (high / low > 1.05) {
    const double rate = std::sqrt(low * high);
    SLUICE_TRY(Run tried, simulate(options, load_at(rate, setting)));
    if (tried.report.e2el_ms.median <= limit_ms) low = rate, best = std::move(tried);
    else high = rate;
  }
  return best;
}

Result<Finding> run_continuous(const Setting& setting) {
  EngineOptions options = engine_options(1024, 64 * 1024);
  options.max_num_seqs = 32;
  // A limit that both can meet: three times what a request alone takes.
  SLUICE_TRY(const Run alone, simulate(options, load_at(0.01, setting)));
  const double limit_ms = 3 * alone.report.e2el_ms.median;
  options.batching = "static";
  SLUICE_TRY(const Run fixed, fastest_within(options, limit_ms, setting));
  options.batching = "continuous";
  SLUICE_TRY(const Run continuous, fastest_within(options, limit_ms, setting));

  // With room in the step for whole prompts, to see when each starts.
  options.chunked_prefill_size = 1024;
  SLUICE_TRY(const Run light, simulate(options, load_at(3, setting)));
  int came_meanwhile = 0, late = 0;
  for (const RequestRecord& r : light.records) {
    // It comes during `step`; the one after that computes its prompt.
    const auto step = std::ranges::upper_bound(light.steps, r.arrival, {}, &StepRecord::at);
    if (step == light.steps.begin() || step + 1 >= light.steps.end() || step->running == 0 || step->running == options.max_num_seqs) continue;
    ++came_meanwhile;
    late += r.token_times.front() > (step + 1)->at;
  }
  SLUICE_TRY(const Run heavy, simulate(options, load_at(0, setting)));
  int queued = 0, empty_seats = 0;
  for (const StepRecord& s : heavy.steps)
    if (s.waiting > 0) ++queued, empty_seats += options.max_num_seqs - s.running - s.finished;

  Finding f;
  f.must("every request is served", fixed.failed() + continuous.failed() + light.failed() + heavy.failed() == 0);
  f.must("who comes while others decode is computed in the next step", late == 0 && came_meanwhile > 0,
         fmt::format("{} of {} were not", late, came_meanwhile));
  f.must("a seat that becomes free is taken in the next step", empty_seats == 0 && queued > 0,
         fmt::format("{} empty seats in {} steps with a queue", empty_seats, queued));
  f.must("at least twice the throughput at equal median latency",
         continuous.report.output_throughput >= 2 * fixed.report.output_throughput,
         fmt::format("within {:.0f} ms", limit_ms));
  f.effect = {fmt::format("simulated output at a median latency of {:.0f} ms", limit_ms), "tok/s", fixed.report.output_throughput,
              continuous.report.output_throughput, Better::higher, false};
  f.count("requests a second", fixed.report.arrival_rate, continuous.report.arrival_rate);
  f.count("mean TTFT, ms", fixed.report.ttft_ms.mean, continuous.report.ttft_ms.mean);
  f.count("padding waste, %", 100 * padding_of(fixed).share(), 0);
  return f;
}

}  // namespace

extern const Experiment kContinuous;
const Experiment kContinuous = {
    .name = "continuous",
    .ids = "B3",
    .group = "batching",
    .technique = "Continuous (iteration-level) batching",
    .paper = "Yu et al., Orca, OSDI 2022",
    .file = "src/sched/scheduler.cpp",
    .flag = "`--batching continuous` (default)",
    .test = "`tests/property`, `tests/exactness`, `src/sim/sim_test.cpp`",
    .baseline = "static batches of at most 32",
    .workload = "simulated, exponential output lengths, each at the highest rate that keeps the median latency within three times that of a request alone",
    .holds = "lossless; twice the throughput at equal median latency; arrivals start, and free seats are taken, in the next step",
    .run = run_continuous};

}  // namespace sluice::lab
