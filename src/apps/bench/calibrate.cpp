#include "apps/bench/calibrate.h"

#include <algorithm>
#include <cstdio>
#include <thread>

#include <fmt/ranges.h>

#include "apps/bench/bench.h"
#include "apps/progress.h"
#include "apps/text_file.h"
#include "sim/replay.h"

namespace sluice {
namespace {

void sleep_until(const Clock& clock, Nanos t) {
  if (const Nanos left = t - clock.now(); left > 0) std::this_thread::sleep_for(std::chrono::nanoseconds(left));
}

Result<std::vector<MeasuredStep>> record_steps(EngineStack& stack, const EngineOptions& options, const Workload& load, const char* what) {
  RecordingExecutor recorder(*stack.executor, *stack.clock);
  SLUICE_TRY(const auto records, run_real(stack, options, load, &recorder, nullptr, what));
  for (const RequestRecord& r : records)
    if (!r.ok) return invalid_argument(fmt::format("the calibration workload does not fit: {}", r.error));
  return recorder.steps();
}

/// What cuts prompts into steps, so that there are steps of every size: with one policy there are few but of its own.
struct Cut {
  const char* chunk_policy;
  int forward_tokens;
};
constexpr Cut kCuts[] = {{"stall-free", 0}, {"prefill-first", 0}, {"split-and-fuse", 32}, {"split-and-fuse", 160}};

/// Mixed steps: lengths and arrivals spread widely, so that every feature varies by itself.
Result<Workload> calibration_workload(const EngineStack& stack, uint64_t seed, int requests) {
  WorkloadFlags flags;
  flags.num_prompts = requests;
  const int context = stack.options.max_model_len;
  flags.input_len = std::max(4, std::min(256, context / 4));
  flags.output_len = std::max(4, std::min(64, context / 8));
  flags.range_ratio = 0.95;
  flags.seed = seed;
  return make_workload(flags, stack.model->info().vocab_size);
}

Result<std::vector<MeasuredStep>> mixed_steps(EngineStack& stack, uint64_t seed, int requests, const char* what) {
  std::vector<MeasuredStep> steps;
  for (const Cut& cut : kCuts) {
    EngineOptions options = stack.options;
    options.chunk_policy = cut.chunk_policy;  // in place of what the flags say of how steps are cut
    options.forward_tokens = std::min(cut.forward_tokens, options.max_num_batched_tokens);
    options.tbt_target_ms = 0;
    options.chunked_prefill_size = 0;
    SLUICE_TRY(const Workload load, calibration_workload(stack, seed++, std::max(5, requests / static_cast<int>(std::size(kCuts)))));
    SLUICE_TRY(const auto more, record_steps(stack, options, load, what));
    steps.insert(steps.end(), more.begin(), more.end());
  }
  return steps;
}

}  // namespace

std::string steps_csv_head() { return fmt::format("{},measured_ns,predicted_ns\n", fmt::join(StepFeatures::kNames, ",")); }

std::string steps_csv(const std::vector<MeasuredStep>& steps, const StepCost& cost, const std::string& before) {
  std::string csv;
  for (const MeasuredStep& s : steps) csv += fmt::format("{}{},{:.0f},{:.0f}\n", before, fmt::join(s.features.x, ","), s.ns, cost.step_ns(s.features));
  return csv;
}

Result<std::vector<RequestRecord>> run_real(EngineStack& stack, const EngineOptions& options, const Workload& load, Executor* executor,
                                            EngineStats* stats, const char* what, EngineTimes* times) {
  SLUICE_TRY(const auto engine, stack.make_engine(executor, &options, times));
  Progress progress(what);
  auto records = replay(*engine, load.requests, load.arrivals, {*stack.clock, [&](Nanos t) { sleep_until(*stack.clock, t); }},
                        {.progress = [&](size_t done, size_t all) {
                          progress.update(static_cast<double>(done), static_cast<double>(all));
                        }});
  if (stats != nullptr) *stats = engine->stats();
  return records;
}

Result<std::vector<RequestRecord>> run_simulated(const StepCost& cost, const EngineOptions& options, const Workload& load) {
  VirtualClock clock;
  SimExecutor executor(cost, clock);
  SLUICE_TRY(const auto engine, build_engine(options, executor, clock));
  return replay(*engine, load.requests, load.arrivals, {clock, [&](Nanos t) { clock.advance_to(t); }});
}

Result<StepCost> fit_and_report(EngineStack& stack, const std::string& model, std::vector<MeasuredStep> steps, const std::vector<MeasuredStep>& held_out) {
  if (steps.size() < 50) return invalid_argument(fmt::format("only {} steps were measured; more requests are needed", steps.size()));
  StepCost cost = StepCost::fit(steps);
  cost.model = model;
  cost.machine = fmt::format("{} threads, {}", stack.pool->size(), stack.ops->isa());
  const StepCost::Error error = cost.error(held_out);
  std::fputs(fmt::format("step-time model from {} steps; on {} held-out steps: mean error {:.1f} %, error of the sum {:.1f} %\n", steps.size(),
                         held_out.size(), 100 * error.mean_relative, 100 * error.total_relative).c_str(), stdout);
  for (int i = 0; i < StepFeatures::kCount; ++i)
    std::fputs(fmt::format("  {:<12} {:>14.1f} ns\n", StepFeatures::kNames[i], cost.ns[i]).c_str(), stdout);
  return cost;
}

Result<StepCost> calibrate(EngineStack& stack, const std::string& model, int requests, std::vector<MeasuredStep>* held_out_steps) {
  SLUICE_TRY(auto steps, mixed_steps(stack, 1, requests, "calibrating"));
  SLUICE_TRY(const auto held_out, mixed_steps(stack, 101, requests / 3, "held-out steps"));
  if (held_out_steps != nullptr) *held_out_steps = held_out;
  return fit_and_report(stack, model, std::move(steps), held_out);
}

Result<int> bench_calibrate(const std::vector<std::string>& args) {
  EngineFlags flags;
  std::string output, steps_path;
  int requests = kCalibrationRequests;
  OptionSet options("sluice bench calibrate", "Measures steps of a model on this machine and fits the step-time model of the simulator to them.");
  options.add("-o,--output", output, "the file to write; 'sluice simulate --cost' reads it");
  options.add("--steps-file", steps_path, "write the held-out steps, measured and predicted, as CSV");
  options.add("--num-prompts", requests, "requests of the calibration workload");
  flags.engine.max_waiting = kEveryRequest;
  flags.declare(options);
  SLUICE_TRY(const auto outcome, options.parse(args));
  if (outcome == OptionSet::Outcome::done) return 0;
  if (requests < 1) return invalid_argument(fmt::format("--num-prompts is {}; it must be at least 1", requests), "--num-prompts");
  SLUICE_TRY(const auto stack, load_engine_stack(flags));
  std::vector<MeasuredStep> held_out;
  SLUICE_TRY(const StepCost cost, calibrate(*stack, flags.model, requests, &held_out));
  if (!steps_path.empty()) SLUICE_TRY_STATUS(write_text_file(steps_path, steps_csv_head() + steps_csv(held_out, cost)));
  if (!output.empty()) {
    SLUICE_TRY_STATUS(write_text_file(output, cost.to_json()));
    std::fputs(fmt::format("wrote {}\n", output).c_str(), stdout);
  }
  return 0;
}

}  // namespace sluice
