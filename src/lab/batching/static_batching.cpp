#include <algorithm>

#include "lab/batching/padding.h"
#include "lab/workloads.h"

namespace sluice::lab {
namespace {

/// Seats that became free when a member ended, and who took one before its batch's longest member had ended too.
struct EarlyEnds {
  int members = 0, ended_before = 0, joined = 0;
  double idle_s = 0;  // of the seats, from a member's end to the longest's

  explicit EarlyEnds(const Run& run) {
    std::vector<Nanos> admitted;
    for (size_t i = 0; i < run.records.size(); ++i) admitted.push_back(run.records[i].arrival + run.waited[i]);
    std::ranges::sort(admitted);
    for (const std::vector<size_t>& batch : batches_of(run)) {
      Nanos longest = 0;
      for (const size_t i : batch) longest = std::max(longest, run.records[i].token_times.back());
      for (const size_t i : batch) {
        const Nanos end = run.records[i].token_times.back();
        ++members;
        ended_before += end < longest;
        idle_s += static_cast<double>(longest - end) / 1e9;
        joined += std::ranges::lower_bound(admitted, end) < std::ranges::lower_bound(admitted, longest);
      }
    }
  }
};

// The baselines: how long a short request waits for its batch, and what padding would cost.
Result<Finding> run_static_batching(const Setting& setting) {
  const int n = setting.quick ? 200 : 2000;
  Load load = mixed_lengths(kSimulatedVocab, {.n = n, .prompt_mean = 64, .output_mean = 64, .output_most = 512, .rate = 1});
  if (!setting.trace.empty()) {
    SLUICE_TRY(load, trace_load(setting.trace, kSimulatedVocab, {.limit = n, .max_prompt_tokens = 512, .max_output_tokens = 511, .request_rate = 1}));
  }
  EngineOptions options = engine_options(1024, 64 * 1024);
  options.max_num_seqs = 16;
  options.batching = "static";
  SLUICE_TRY(const Run eager, simulate(options, load));
  options.batching = "windowed";
  options.max_queue_delay_ms = 4000;
  SLUICE_TRY(const Run windowed, simulate(options, load));

  Finding f;
  f.must("every request is served under both", eager.failed() + windowed.failed() == 0);
  for (const auto& [name, batches] : {std::pair{"static", EarlyEnds(eager)}, {"windowed", EarlyEnds(windowed)}})
    f.must(fmt::format("a seat whose request has ended stays empty until the batch's longest member has, {}", name), batches.joined == 0 && batches.ended_before > 0,
           fmt::format("{} of {} members ended before it, {:.0f} s in all; {} of their seats were taken", batches.ended_before, batches.members, batches.idle_s, batches.joined));
  const Padding a = padding_of(eager), b = padding_of(windowed);
  f.must("a window makes larger batches", b.batches < a.batches, fmt::format("{} and {} batches", a.batches, b.batches));
  f.effect = {"simulated steps, static batches of whoever waits and windowed", "", static_cast<double>(eager.stats.steps),
              static_cast<double>(windowed.stats.steps), Better::lower, false};
  f.count("requests in a batch", static_cast<double>(load.requests.size()) / a.batches, static_cast<double>(load.requests.size()) / b.batches);
  f.count("padding waste, % of prompts' and outputs' rectangles", 100 * a.share(), 100 * b.share());
  f.count("of it outputs, tokens", a.output_waste, b.output_waste);
  f.count("mean TTFT, ms", eager.report.ttft_ms.mean, windowed.report.ttft_ms.mean);
  return f;
}

}  // namespace

extern const Experiment kStaticBatching;
const Experiment kStaticBatching = {
    .name = "windowed",
    .ids = "B1 B2",
    .group = "batching",
    .technique = "Static and dynamic (windowed) batching",
    .paper = "NVIDIA Triton Inference Server, dynamic batcher",
    .file = "src/sched/gate/windowed_batch.h",
    .flag = "`--batching static`, `--batching windowed --max-queue-delay-ms T`",
    .test = "`tests/property`",
    .baseline = "static batches of whoever waits when the last one has ended",
    .workload = "simulated, exponential output lengths (or those of `--trace`), 1 request a second",
    .holds = "lossless; baselines: a batch lasts as long as its longest member; padding is reported",
    .run = run_static_batching,
    .reads_trace = true};

}  // namespace sluice::lab
