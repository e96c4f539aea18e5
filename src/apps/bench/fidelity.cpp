// sluice bench fidelity: does the simulator say before the purchase what the engine does after it? The same workloads under the same
// policies in both, with a step-time model fitted to another workload.

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
  double measured = 0, predicted = 0;
  double error() const { return predicted / measured - 1; }
};

struct Row {
  std::string workload, policy;
  Pair ttft_ms, tok_s;
};

std::string table(const std::vector<Row>& rows) {
  std::string text = "| workload | policy | mean TTFT, ms: measured | predicted | error | output tok/s: measured | predicted | error |\n"
                     "|---|---|---:|---:|---:|---:|---:|---:|\n";
  for (const Row& r : rows)
    text += fmt::format("| {} | {} | {:.0f} | {:.0f} | {:+.1f} % | {:.1f} | {:.1f} | {:+.1f} % |\n", r.workload, r.policy, r.ttft_ms.measured, r.ttft_ms.predicted,
                        100 * r.ttft_ms.error(), r.tok_s.measured, r.tok_s.predicted, 100 * r.tok_s.error());
  return text;
}

/// Of the pairs of policies that the engine tells apart by more than `apart`, how many the simulator puts in the same order.
std::string ranking(const std::string& name, const std::vector<Row>& rows, Pair Row::*part, double apart) {
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

std::string summary(const std::vector<Row>& rows) {
  double ttft = 0, tok_s = 0;
  for (const Row& r : rows) ttft += std::abs(r.ttft_ms.error()) / static_cast<double>(rows.size()), tok_s += std::abs(r.tok_s.error()) / static_cast<double>(rows.size());
  return fmt::format("mean error: TTFT {:.1f} %, throughput {:.1f} %\n", 100 * ttft, 100 * tok_s) + ranking("TTFT", rows, &Row::ttft_ms, 0.05) +
         ranking("throughput", rows, &Row::tok_s, 0.05);
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

}  // namespace

Result<int> bench_fidelity(const std::vector<std::string>& args) {
  EngineFlags flags;
  WorkloadFlags shape;
  shape.num_prompts = 40;
  shape.length_scale = 0.1;
  shape.max_input_len = 512;
  shape.max_output_len = 48;
  double load = 0.7;
  std::vector<std::string> traces;
  std::string output;
  OptionSet options("sluice bench fidelity",
                    "The simulator against the engine: traces and prompts that share a prefix, scaled to this machine, under four policies, in both. Prints what\n"
                    "was measured and predicted as a table, and whether policies rank alike. The step-time model is fitted to another workload first.");
  options.add("-o,--output", output, "write the table to this file too");
  options.add("--traces", traces, "trace files, a list, beside the prompts that share a prefix");
  options.add("--num-prompts", shape.num_prompts, "requests of each workload, spread over its trace");
  options.add("--length-scale", shape.length_scale, "multiplies the lengths of traces");
  options.add("--max-input-len", shape.max_input_len, "clips prompts of traces");
  options.add("--max-output-len", shape.max_output_len, "clips outputs of traces");
  options.add("--load", load, "arrivals, as a share of what the simulator serves of the workload when all comes at once");
  flags.engine.max_waiting = kEveryRequest;
  flags.declare(options);
  SLUICE_TRY(const auto outcome, options.parse(args));
  if (outcome == OptionSet::Outcome::done) return 0;
  if (!(load > 0 && load < 100)) return invalid_argument(fmt::format("--load is {}; it must be above 0 and below 100", load), "--load");
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
  workloads.emplace_back("shared prefix", shared);
  for (auto& [name, w] : workloads) SLUICE_TRY_STATUS(w.check());

  SLUICE_TRY(const StepCost cost, calibrate(*stack, flags.model, kCalibrationRequests));
  std::vector<Row> rows;
  for (auto& [name, w] : workloads) {
    w.request_rate = "inf";
    SLUICE_TRY(const Workload at_once, make_workload(w, stack->model->info().vocab_size));
    SLUICE_TRY(const ServingReport capacity, served(run_simulated(cost, stack->options, at_once), "in the simulator"));
    w.request_rate = fmt::format("{:.4g}", load * capacity.request_throughput);
    std::fputs(fmt::format("{}: {} requests, {} a second\n", name, capacity.completed, w.request_rate).c_str(), stdout);
    SLUICE_TRY(const Workload requests, make_workload(w, stack->model->info().vocab_size));
    for (const Policy& policy : kPolicies) {
      const EngineOptions engine = under(policy, stack->options);
      SLUICE_TRY(const ServingReport real, served(run_real(*stack, engine, requests, nullptr, nullptr, policy.name), "on the engine"));
      SLUICE_TRY(const ServingReport simulated, served(run_simulated(cost, engine, requests), "in the simulator"));
      rows.push_back({name, policy.name, {real.ttft_ms.mean, simulated.ttft_ms.mean}, {real.output_throughput, simulated.output_throughput}});
    }
  }
  const std::string text = table(rows) + "\n" + summary(rows);
  std::fputs(text.c_str(), stdout);
  if (!output.empty()) SLUICE_TRY_STATUS(write_text_file(output, text));
  return 0;
}

}  // namespace sluice
