// sluice bench fidelity: does the simulator say before the purchase what the engine does after it? The same workloads under the same
// policies in both. Twice, since two things can be wrong: with step times measured beforehand on another workload, and with those of the
// runs themselves, so that no drift of the machine stands between the two and what is left is the simulator's own.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <filesystem>

#include "apps/bench/bench.h"
#include "apps/bench/calibrate.h"
#include "apps/text_file.h"

namespace sluice {
namespace {

struct Policy {
  const char* name;
  const char *batching, *chunk;
};
constexpr std::array kPolicies = {Policy{"stall-free", "continuous", "stall-free"}, Policy{"split-and-fuse", "continuous", "split-and-fuse"},
                                  Policy{"prefill-first", "continuous", "prefill-first"}, Policy{"static", "static", "stall-free"}};

struct Pair {
  double measured = 0, predicted = 0, beforehand = 0;  // the last with the step times measured beforehand
  double error() const { return predicted / measured - 1; }
  double error_beforehand() const { return beforehand / measured - 1; }
};

struct FidelityRow {
  std::string workload, policy;
  Pair ttft_ms, tok_s;
};

std::string table(const std::vector<FidelityRow>& rows) {
  std::string text = "| workload | policy | mean TTFT, ms: measured | predicted | error | output tok/s: measured | predicted | error |\n"
                     "|---|---|---:|---:|---:|---:|---:|---:|\n";
  for (const FidelityRow& r : rows)
    text += fmt::format("| {} | {} | {:.0f} | {:.0f} | {:+.1f} % | {:.1f} | {:.1f} | {:+.1f} % |\n", r.workload, r.policy, r.ttft_ms.measured, r.ttft_ms.predicted,
                        100 * r.ttft_ms.error(), r.tok_s.measured, r.tok_s.predicted, 100 * r.tok_s.error());
  return text;
}

/// Of the pairs of policies that the engine tells apart by more than `apart`, how many the simulator puts in the same order.
std::string ranking(const std::string& name, const std::vector<FidelityRow>& rows, Pair FidelityRow::*part, double apart) {
  int alike = 0, all = 0;
  for (size_t i = 0; i < rows.size(); ++i)
    for (size_t k = 0; k < i; ++k) {
      const Pair &a = rows[i].*part, &b = rows[k].*part;
      if (rows[i].workload != rows[k].workload || std::abs(std::log(a.measured / b.measured)) <= std::log1p(apart)) continue;
      ++all;
      alike += (a.measured < b.measured) == (a.predicted < b.predicted);
    }
  return fmt::format("{}: {} of {} pairs of policies that differ by more than {:.0f} % are ranked alike\n", name, alike, all, 100 * apart);
}

std::string summary(const std::vector<FidelityRow>& rows) {
  const auto mean = [&](Pair FidelityRow::*part, double (Pair::*error)() const) {
    double sum = 0;
    for (const FidelityRow& r : rows) sum += std::abs(((r.*part).*error)());
    return 100 * sum / static_cast<double>(rows.size());
  };
  return fmt::format("mean error: TTFT {:.1f} %, throughput {:.1f} %; with step times measured beforehand: TTFT {:.1f} %, throughput {:.1f} %\n",
                     mean(&FidelityRow::ttft_ms, &Pair::error), mean(&FidelityRow::tok_s, &Pair::error), mean(&FidelityRow::ttft_ms, &Pair::error_beforehand),
                     mean(&FidelityRow::tok_s, &Pair::error_beforehand)) + ranking("TTFT", rows, &FidelityRow::ttft_ms, 0.05) +
         ranking("throughput", rows, &FidelityRow::tok_s, 0.05);
}

EngineOptions under(const Policy& policy, EngineOptions options) {
  options.batching = policy.batching;
  options.chunk_policy = policy.chunk;
  return options;
}

Result<ServingReport> served(const Result<std::vector<RequestRecord>>& records, const char* where) {
  if (!records.ok()) return records.error();
  const ServingReport report = make_report(*records, {});
  if (report.failed > 0 || report.completed == 0)
    return unavailable(fmt::format("{} of {} requests failed {}: {}", report.failed, records->size(), where, report.errors.empty() ? "there were none" : report.errors[0]));
  return report;
}

struct Measured {
  ServingReport report;
  std::vector<MeasuredStep> steps;
  double step_ns = 0;  // of all
};

/// The run, of `repeat`, whose steps took least: whatever else runs on the machine only adds to them.
Result<Measured> measure(EngineStack& stack, const EngineOptions& engine, const Workload& requests, int repeat, const char* what) {
  Measured best;
  for (int i = 0; i < repeat; ++i) {
    RecordingExecutor recorder(*stack.executor, *stack.clock);
    SLUICE_TRY(const ServingReport report, served(run_real(stack, engine, requests, &recorder, nullptr, what), "on the engine"));
    double step_ns = 0;
    for (const MeasuredStep& s : recorder.steps()) step_ns += s.ns;
    if (i == 0 || step_ns < best.step_ns) best = {report, recorder.steps(), step_ns};
  }
  return best;
}

}  // namespace

Result<int> bench_fidelity(const std::vector<std::string>& args) {
  EngineFlags flags;
  WorkloadFlags shape;
  shape.num_prompts = 48;
  shape.length_scale = 0.1;
  shape.max_input_len = 512;
  shape.max_output_len = 48;
  double load = 0.6;
  int repeat = 2;
  bool shared_prefix = true;
  std::vector<std::string> traces;
  std::string output, steps_path, every_step = "workload,policy," + steps_csv_head();
  OptionSet options("sluice bench fidelity",
                    "The simulator against the engine: traces and prompts that share a prefix, scaled to this machine, under four policies, in both. Prints what\n"
                    "was measured and predicted as a table, and whether policies rank alike: with the step times of the runs themselves, and with those of another workload, measured beforehand.");
  options.add("-o,--output", output, "write the table to this file too");
  options.add("--steps-file", steps_path, "write every step, measured and predicted by those of the runs, as CSV");
  options.add("--traces", traces, "trace files, a list, beside the prompts that share a prefix");
  options.add("--num-prompts", shape.num_prompts, "requests of each workload, spread over its trace");
  options.add("--length-scale", shape.length_scale, "multiplies the lengths of traces");
  options.add("--max-input-len", shape.max_input_len, "clips prompts of traces");
  options.add("--max-output-len", shape.max_output_len, "clips outputs of traces");
  options.add("--load", load, "arrivals, as a share of what the simulator serves of the workload when all comes at once");
  options.add("--shared-prefix", shared_prefix, "the workload of prompts that share a prefix, too");
  options.add("--repeat", repeat, "how often each is measured; the least disturbed counts");
  flags.engine.max_waiting = kEveryRequest;
  flags.declare(options);
  SLUICE_TRY(const auto outcome, options.parse(args));
  if (outcome == OptionSet::Outcome::done) return 0;
  if (!(load > 0 && load < 100)) return invalid_argument(fmt::format("--load is {}; it must be above 0 and below 100", load), "--load");
  if (repeat < 1) return invalid_argument(fmt::format("--repeat is {}; it must be at least 1", repeat), "--repeat");
  if (!shared_prefix && traces.empty()) return invalid_argument("without --shared-prefix there must be --traces", "--shared-prefix");
  SLUICE_TRY(const auto stack, load_engine_stack(flags));
  for (const std::string& note : stack->notes) std::fputs(("# " + note + "\n").c_str(), stdout);

  std::vector<std::pair<std::string, WorkloadFlags>> workloads;
  for (const std::string& trace : traces) {
    WorkloadFlags w = shape;
    w.trace = trace;
    workloads.emplace_back(std::filesystem::path(trace).stem().string(), w);
  }
  WorkloadFlags shared = shape;
  shared.prefix_len = 192;
  shared.input_len = 64;
  shared.output_len = 24;
  shared.range_ratio = 0.8;
  shared.length_scale = 1;  // these three are of traces
  shared.max_input_len = shared.max_output_len = 0;
  if (shared_prefix) workloads.emplace_back("shared prefix", shared);
  for (auto& [name, w] : workloads) SLUICE_TRY_STATUS(w.check());

  SLUICE_TRY(const StepCost cost, calibrate(*stack, flags.model, kCalibrationRequests));
  std::vector<FidelityRow> rows;
  for (auto& [name, w] : workloads) {
    w.request_rate = "inf";
    SLUICE_TRY(const Workload at_once, make_workload(w, stack->model->info().vocab_size));
    SLUICE_TRY(const ServingReport capacity, served(run_simulated(cost, stack->options, at_once), "in the simulator"));
    w.request_rate = fmt::format("{:.4g}", load * capacity.request_throughput);
    std::fputs(fmt::format("{}: {} requests, {} a second\n", name, capacity.completed, w.request_rate).c_str(), stdout);
    SLUICE_TRY(const Workload requests, make_workload(w, stack->model->info().vocab_size));
    std::vector<FidelityRow> of_workload;
    std::vector<MeasuredStep> steps, held_out;  // three of four, and the fourth
    std::vector<std::vector<MeasuredStep>> of_policy;
    for (const Policy& policy : kPolicies) {
      const EngineOptions engine = under(policy, stack->options);
      SLUICE_TRY(const Measured measured, measure(*stack, engine, requests, repeat, policy.name));
      const ServingReport& real = measured.report;
      SLUICE_TRY(const ServingReport simulated, served(run_simulated(cost, engine, requests), "in the simulator"));
      of_workload.push_back({name, policy.name, {real.ttft_ms.mean, 0, simulated.ttft_ms.mean}, {real.output_throughput, 0, simulated.output_throughput}});
      for (size_t i = 0; i < measured.steps.size(); ++i) (i % 4 == 0 ? held_out : steps).push_back(measured.steps[i]);
      of_policy.push_back(measured.steps);
    }
    const StepCost own = StepCost::fit(steps);
    const StepCost::Error error = own.error(held_out), error_beforehand = cost.error(held_out);
    std::fputs(fmt::format("  its held-out steps: mean error {:.1f} %, of the sum {:.1f} %; by step times measured beforehand {:.1f} % and {:.1f} %\n", 100 * error.mean_relative,
                           100 * error.total_relative, 100 * error_beforehand.mean_relative, 100 * error_beforehand.total_relative).c_str(), stdout);
    for (size_t i = 0; i < kPolicies.size(); ++i) {
      SLUICE_TRY(const ServingReport simulated, served(run_simulated(own, under(kPolicies[i], stack->options), requests), "in the simulator"));
      of_workload[i].ttft_ms.predicted = simulated.ttft_ms.mean;
      of_workload[i].tok_s.predicted = simulated.output_throughput;
      every_step += steps_csv(of_policy[i], own, fmt::format("{},{},", name, kPolicies[i].name));
    }
    rows.insert(rows.end(), of_workload.begin(), of_workload.end());
  }
  const std::string text = table(rows) + "\n" + summary(rows);
  std::fputs(text.c_str(), stdout);
  if (!output.empty()) SLUICE_TRY_STATUS(write_text_file(output, text));
  if (!steps_path.empty()) SLUICE_TRY_STATUS(write_text_file(steps_path, every_step));
  return 0;
}

}  // namespace sluice
