// sluice bench throughput: a workload through the engine in this process, without HTTP. Also continuous against static
// batching, on the engine and in the simulator.

#include <algorithm>
#include <cstdio>

#include "apps/bench/bench.h"
#include "apps/bench/breakdown.h"
#include "apps/bench/calibrate.h"
#include "apps/bench/roofline.h"
#include "apps/bench/workload.h"
#include "apps/engine_stack.h"
#include "apps/text_file.h"
#include "sim/sim_executor.h"

namespace sluice {
namespace {

/// What the executor did since `before`, and the share of the roofline that its forward passes reached: that of the mean step
/// of this workload.
std::string against_roofline(const EngineStack& stack, const Roofline& roofline, const Workload& load, const StepTimes& before) {
  const StepTimes& now = stack.executor->times();
  const double steps = static_cast<double>(now.steps - before.steps), forward_s = static_cast<double>(now.forward - before.forward) / 1e9;
  if (steps == 0) return "no step was run";
  const double rows = static_cast<double>(now.rows - before.rows) / steps, sampled = static_cast<double>(now.sampled - before.sampled) / steps;
  double context = 0;
  for (const Request& r : load.requests) context += (static_cast<double>(r.prompt.size()) + r.max_tokens / 2.0) / static_cast<double>(load.requests.size());
  const double kv_bytes = static_cast<double>(stack.kv_token_bytes());
  const StepDemand demand = step_demand(stack.model->info(), *stack.source, kv_bytes, rows, sampled, context, sampled);
  return fmt::format("{} steps: forward {:.2f} s ({:.1f} % of the roofline of the mean step), sampling {:.2f} s", steps, forward_s,
                     100 * demand.seconds(roofline) * steps / forward_s, static_cast<double>(now.sample - before.sample) / 1e9);
}

/// All that the engine's steps do, forward pass and everything else.
std::string engine_breakdown(const StepMeter& meter, const EngineTimes& times, const Roofline& roofline) {
  const StepTimes run = meter.times();
  const auto seconds = [](Nanos ns) { return static_cast<double>(ns) / 1e9; };
  const Nanos policies = times.inbox + times.decide + times.commit + times.settle - times.prefix_cache;
  double ops = 0;
  for (const OpMeter::Entry& e : meter.ops().entries()) ops += seconds(e.ns);
  const double total = seconds(times.total());
  std::string text = breakdown_text("the engine", meter.ops(),
                                    {{"between the ops", seconds(run.forward) - ops},
                                     {"sampling", seconds(run.sample)},
                                     {"KV copies", seconds(run.copy)},
                                     {"scheduling", seconds(policies)},
                                     {"prefix cache", seconds(times.prefix_cache)},
                                     {"delivering tokens", seconds(times.deliver)}},
                                    total, static_cast<double>(times.steps), roofline);
  return text + fmt::format("everything but the forward pass: {:.2f} %\n", 100 * (total - seconds(run.forward)) / total);
}

/// The roofline of the stack's kernels and threads, printed.
Result<Roofline> print_roofline(const EngineStack& stack, const std::string& isa) {
  SLUICE_TRY(const OpTable* table, select_op_table(isa));
  const Roofline roofline = measure_roofline(*table, *stack.pool);
  std::fputs(("# " + to_text(roofline)).c_str(), stdout);
  return roofline;
}

}  // namespace

Result<int> bench_throughput(const std::vector<std::string>& args) {
  EngineFlags flags;
  WorkloadFlags workload;
  std::string result_path;
  bool breakdown = false;
  OptionSet options("sluice bench throughput", "Runs a workload through the engine in this process and prints the report of 'bench serve'.");
  options.add("--result-file", result_path, "write the report as JSON too");
  options.add("--breakdown", breakdown, "then run the workload again, and say where the time of the engine's steps goes");
  workload.declare(options);
  flags.engine.max_waiting = kEveryRequest;
  flags.declare(options);
  SLUICE_TRY(const auto outcome, options.parse(args));
  if (outcome == OptionSet::Outcome::done) return 0;
  SLUICE_TRY_STATUS(workload.check_given(options));
  SLUICE_TRY(const auto stack, load_engine_stack(flags));
  for (const std::string& note : stack->notes) std::fputs(("# " + note + "\n").c_str(), stdout);
  SLUICE_TRY(const Roofline roofline, print_roofline(*stack, flags.isa));
  SLUICE_TRY(const Workload load, make_workload(workload, stack->model->info().vocab_size));
  EngineStats stats;
  SLUICE_TRY(const auto records, run_real(*stack, stack->options, load, nullptr, &stats, "requests"));
  const ServingReport report = make_report(records, workload.goodput);
  std::fputs(report.to_text().c_str(), stdout);
  std::fputs(fmt::format("{}, preemptions {}\n", against_roofline(*stack, roofline, load, {}), stats.preemptions).c_str(), stdout);
  if (!result_path.empty()) SLUICE_TRY_STATUS(write_text_file(result_path, report.to_json()));
  if (breakdown) {
    EngineTimes times;
    const StepMeter meter(*stack);
    SLUICE_TRY(const auto again, run_real(*stack, stack->options, load, nullptr, nullptr, "requests, metered", &times));
    std::fputs(engine_breakdown(meter, times, roofline).c_str(), stdout);
  }
  return report.failed == 0 ? 0 : 1;
}

Result<int> bench_batching(const std::vector<std::string>& args) {
  EngineFlags flags;
  WorkloadFlags workload;
  workload.num_prompts = 200;
  std::string result_path;
  OptionSet options("sluice bench batching",
                    "Continuous against static batching on one workload: on the real engine, and in the simulator with a step-time\n"
                    "model fitted on the spot. Prints the gain in throughput and TTFT of both, and how well they agree.");
  options.add("--result-file", result_path, "write all four reports as JSON too");
  workload.declare(options);
  flags.engine.max_waiting = kEveryRequest;
  flags.declare(options);
  SLUICE_TRY(const auto outcome, options.parse(args));
  if (outcome == OptionSet::Outcome::done) return 0;
  SLUICE_TRY_STATUS(workload.check_given(options));
  SLUICE_TRY(const auto stack, load_engine_stack(flags));
  for (const std::string& note : stack->notes) std::fputs(("# " + note + "\n").c_str(), stdout);
  SLUICE_TRY(const Roofline roofline, print_roofline(*stack, flags.isa));
  SLUICE_TRY(const Workload load, make_workload(workload, stack->model->info().vocab_size));
  EngineOptions continuous = stack->options;
  continuous.batching = "continuous";
  EngineOptions fixed = continuous;
  fixed.batching = "static";
  struct Run { const char* name; const EngineOptions* options; ServingReport real, simulated; std::string machine; };
  Run runs[] = {{"continuous", &continuous, {}, {}, {}}, {"static", &fixed, {}, {}, {}}};
  // The model is fitted to three of every four steps of these very runs, so that no drift of the machine stands between the
  // two; the fourth is held out. What the simulator adds, arrivals, queues and policies, it must still get right alone.
  std::vector<MeasuredStep> fit_steps, held_out;
  for (Run& run : runs) {
    const StepTimes before = stack->executor->times();
    RecordingExecutor recorder(*stack->executor, *stack->clock);
    SLUICE_TRY(const auto real, run_real(*stack, *run.options, load, &recorder, nullptr, run.name));
    run.machine = against_roofline(*stack, roofline, load, before);
    run.real = make_report(real, workload.goodput);
    for (size_t i = 0; i < recorder.steps().size(); ++i) (i % 4 == 0 ? held_out : fit_steps).push_back(recorder.steps()[i]);
  }
  SLUICE_TRY(const StepCost cost, fit_and_report(*stack, flags.model, std::move(fit_steps), held_out));
  for (Run& run : runs) {
    SLUICE_TRY(const auto simulated, run_simulated(cost, *run.options, load));
    run.simulated = make_report(simulated, workload.goodput);
    for (const auto* report : {&run.real, &run.simulated})
      if (report->completed == 0)
        return unavailable(fmt::format("no request ended well under {} batching: {}", run.name, report->errors.empty() ? "there was none" : report->errors[0]));
  }
  std::fputs(fmt::format("\n{:<12} {:<10} {:>12} {:>14} {:>14} {:>14}\n", "batching", "where", "output tok/s", "mean TTFT ms", "p99 TTFT ms", "mean TPOT ms").c_str(), stdout);
  for (const Run& run : runs)
    for (const auto& [where, r] : {std::pair{"engine", &run.real}, std::pair{"simulator", &run.simulated}})
      std::fputs(fmt::format("{:<12} {:<10} {:>12.1f} {:>14.1f} {:>14.1f} {:>14.2f}\n", run.name, where, r->output_throughput, r->ttft_ms.mean,
                             r->ttft_ms.p99, r->tpot_ms.mean).c_str(), stdout);
  for (const Run& run : runs) {
    std::fputs(fmt::format("{}: {}\n", run.name, run.machine).c_str(), stdout);
    if (run.real.failed > 0)
      std::fputs(fmt::format("{}: {} of {} requests failed: {}\n", run.name, run.real.failed, load.requests.size(), run.real.errors[0]).c_str(), stdout);
  }
  const auto gains = [&](auto part) {
    return std::pair{(runs[0].*part).output_throughput / (runs[1].*part).output_throughput, (runs[1].*part).ttft_ms.mean / (runs[0].*part).ttft_ms.mean};
  };
  const auto [real_throughput, real_ttft] = gains(&Run::real);
  const auto [sim_throughput, sim_ttft] = gains(&Run::simulated);
  const auto apart = [](double a, double b) { return 100 * std::abs(a - b) / b; };
  std::fputs(fmt::format("gain of continuous batching: throughput {:.2f}x on the engine, {:.2f}x simulated ({:.1f} % apart); "
                         "TTFT {:.2f}x on the engine, {:.2f}x simulated ({:.1f} % apart)\n",
                         real_throughput, sim_throughput, apart(sim_throughput, real_throughput), real_ttft, sim_ttft, apart(sim_ttft, real_ttft)).c_str(), stdout);
  if (!result_path.empty()) {
    std::string text = "{";
    for (const Run& run : runs)
      text += fmt::format("{}\"{}\": {{\"engine\": {}, \"simulator\": {}}}", &run == runs ? "" : ", ", run.name, run.real.to_json(), run.simulated.to_json());
    SLUICE_TRY_STATUS(write_text_file(result_path, text + "}\n"));
  }
  return runs[0].real.failed + runs[1].real.failed == 0 ? 0 : 1;
}

}  // namespace sluice
