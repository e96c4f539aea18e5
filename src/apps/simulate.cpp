// sluice simulate: a trace through the real engine and scheduler, on a virtual clock and a step-time model.

#include <cstdio>

#include "apps/bench/workload.h"
#include "apps/command.h"
#include "apps/engine_stack.h"
#include "apps/progress.h"
#include "apps/text_file.h"
#include "base/mapped_file.h"
#include "engine/combinations.h"
#include "sim/replay.h"
#include "sim/sim_executor.h"

namespace sluice {

Result<int> simulate_main(const std::vector<std::string>& args) {
  WorkloadFlags workload;
  EngineOptions engine;
  std::string cost_path, result_path;
  int64_t kv_tokens = 0;
  workload.num_prompts = 0;
  workload.request_rate = "trace";
  engine.max_model_len = 0;
  engine.max_waiting = kEveryRequest;
  OptionSet options(
      "sluice simulate",
      "Replays a trace through the same engine, scheduler and policies that serve, with a step-time model in place of\n"
      "the computation, and prints the report of 'sluice bench serve'.");
  options.add("--cost", cost_path,
              "step-time model, as 'sluice bench calibrate' writes it; without one, that of a 0.5B model in Q8_0 on two cores");
  workload.declare(options);
  options.group("Engine");
  options.add("--num-kv-tokens", kv_tokens,
              "tokens that the KV cache holds; 0: what --max-num-seqs full contexts need");
  options.add("-c,--max-model-len", engine.max_model_len,
              "context: most tokens of one sequence; 0: the longest request");
  declare_scheduling(options, engine);
  options.group("Output");
  options.add("--result-file", result_path, "write the report as JSON too");
  SLUICE_TRY(const auto outcome, options.parse(args));
  if (outcome == OptionSet::Outcome::done) return 0;
  if (kv_tokens < 0)
    return invalid_argument(fmt::format("--num-kv-tokens is {}; it must be at least 0", kv_tokens), "--num-kv-tokens");
  if (engine.max_model_len < 0 || engine.max_model_len == 1)
    return invalid_argument(
        fmt::format("--max-model-len is {}; it must be at least 2, or 0 for the longest request", engine.max_model_len),
        "--max-model-len");
  if (workload.trace.empty()) {  // random requests have no times and no number of their own
    if (workload.num_prompts == 0) workload.num_prompts = 100;
    if (workload.request_rate == "trace") workload.request_rate = "inf";
  }
  StepCost cost = StepCost::built_in();
  if (!cost_path.empty()) {
    SLUICE_TRY(const std::string cost_text, read_file(cost_path));
    SLUICE_TRY(cost, StepCost::from_json(cost_text, cost_path));
  }
  std::fputs(fmt::format("# step times of {}, {}{}\n", cost.model, cost.machine,
                         cost_path.empty() ? "; 'sluice bench calibrate' measures those of a model here" : "").c_str(), stdout);
  SLUICE_TRY(const Workload load, make_workload(workload, 1 << 20));

  int longest = 2;
  for (const Request& r : load.requests) longest = std::max(longest, static_cast<int>(r.prompt.size()) + r.max_tokens);
  if (engine.max_model_len == 0) engine.max_model_len = longest;
  if (kv_tokens == 0) kv_tokens = int64_t{engine.max_model_len} * engine.max_num_seqs;
  engine.kv_blocks = static_cast<int>(std::min<int64_t>(kv_tokens / std::max(1, engine.block_tokens) + 1, 1 << 26));

  VirtualClock clock;
  SimExecutor executor(cost, clock);
  for (const std::string& note : fallbacks(engine)) std::fputs(("# " + note + "\n").c_str(), stdout);
  engine.step_time = std::make_shared<CostStepTime>(cost);
  SLUICE_TRY(const auto sim, build_engine(engine, executor, clock));
  RealClock wall;
  const Nanos start = wall.now();
  Progress progress("simulating");
  const auto records =
      replay(*sim, load.requests, load.arrivals, {clock, [&](Nanos t) { clock.advance_to(t); }},
             {.progress = [&](size_t done, size_t all) {
               progress.update(static_cast<double>(done), static_cast<double>(all));
             }});
  const ServingReport report = make_report(records, workload.goodput);
  const EngineStats stats = sim->stats();
  std::fputs(report.to_text().c_str(), stdout);
  std::fputs(
      fmt::format(
          "simulated {:.1f} s in {:.2f} s: {} steps, {} preemptions, prefix cache hit {:.1f} % of {} prompt tokens\n",
          report.duration_s, static_cast<double>(wall.now() - start) / 1e9, stats.steps, stats.preemptions,
          stats.prefix_queries_tokens > 0
              ? 100.0 * static_cast<double>(stats.prefix_hits_tokens) / static_cast<double>(stats.prefix_queries_tokens)
              : 0.0,
          stats.prefix_queries_tokens)
          .c_str(),
      stdout);
  if (!result_path.empty()) SLUICE_TRY_STATUS(write_text_file(result_path, report.to_json()));
  return report.failed == 0 ? 0 : 1;
}

}  // namespace sluice
