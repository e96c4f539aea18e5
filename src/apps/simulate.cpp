// sluice simulate: a trace through the real engine and scheduler, on a virtual clock and a step-time model; with several
// replicas, through a router as well.

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "apps/bench/calibrate.h"
#include "apps/bench/workload.h"
#include "apps/catalog_help.h"
#include "apps/command.h"
#include "apps/engine_stack.h"
#include "apps/progress.h"
#include "apps/text_file.h"
#include "base/mapped_file.h"
#include "engine/combinations.h"
#include "route/catalog.h"
#include "sim/cluster.h"
#include "sim/run_plots.h"
#include "sim/timeline.h"

namespace sluice {
namespace {

constexpr int64_t kMostBlocks = int64_t{1} << 26;  // of the KV cache: their books take some gigabytes

struct SimulateFlags {
  WorkloadFlags workload;
  EngineOptions engine;
  std::string cost_path, calibrate_model, result_path, timeline_path, plot_dir, router = "round-robin";
  int64_t kv_tokens = 0, host_kv_tokens = 0, disk_kv_tokens = 0;
  int replicas = 1;

  Status check(const OptionSet& options) const {
    if (kv_tokens < 0)
      return invalid_argument(fmt::format("--num-kv-tokens is {}; it must be at least 0", kv_tokens), "--num-kv-tokens");
    for (const auto& [flag, tokens] : {std::pair{"--num-host-kv-tokens", host_kv_tokens}, {"--num-disk-kv-tokens", disk_kv_tokens}})
      if (tokens < 0 || tokens > int64_t{1} << 34)
        return invalid_argument(fmt::format("{} is {}; it must be from 0 to 2^34", flag, tokens), flag);
    SLUICE_TRY_STATUS(check_tier_choices(engine, host_kv_tokens + disk_kv_tokens > 0, "--num-host-kv-tokens or --num-disk-kv-tokens"));
    if (engine.max_model_len < 0 || engine.max_model_len == 1)
      return invalid_argument(
          fmt::format("--max-model-len is {}; it must be at least 2, or 0 for the longest request", engine.max_model_len),
          "--max-model-len");
    if (!cost_path.empty() && !calibrate_model.empty())
      return invalid_argument("--calibrate measures what --cost reads: give one of them", "--calibrate");
    if (replicas < 1 || replicas > 1024)
      return invalid_argument(fmt::format("--replicas is {}; it must be from 1 to 1024", replicas), "--replicas");
    if (replicas == 1 && options.given("router"))
      return invalid_argument("--router has no choice with one replica: give --replicas", "--router");
    return {};
  }
};

std::string cache_line(const EngineStats& s) {
  const double share = s.prefix_queries_tokens > 0 ? static_cast<double>(s.prefix_hits_tokens) / static_cast<double>(s.prefix_queries_tokens) : 0;
  return fmt::format("{} steps, {} preemptions, prefix cache hit {:.1f} % of {} prompt tokens", s.steps, s.preemptions, 100 * share, s.prefix_queries_tokens);
}

std::string summary(const std::vector<EngineStats>& replicas) {
  EngineStats all;
  std::string text;
  for (size_t i = 0; i < replicas.size(); ++i) {
    const EngineStats& s = replicas[i];
    all.steps += s.steps;
    all.preemptions += s.preemptions;
    all.prefix_hits_tokens += s.prefix_hits_tokens;
    all.prefix_queries_tokens += s.prefix_queries_tokens;
    if (replicas.size() > 1) text += fmt::format("replica {}: {} requests, {}\n", i, s.finished_requests, cache_line(s));
  }
  text += cache_line(all);
  TierStats tiers;
  for (const EngineStats& s : replicas) tiers.loaded_host += s.tiers.loaded_host, tiers.loaded_disk += s.tiers.loaded_disk;
  if (tiers.loaded_host + tiers.loaded_disk > 0)
    text += fmt::format("\nKV blocks loaded from host memory {}, from disk {}", tiers.loaded_host, tiers.loaded_disk);
  return text;
}

/// Makes the directory of plots; an error says that nothing can be written there.
Status open_plots(const std::string& directory) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) return io_error(fmt::format("--plot: cannot make the directory {}: {}", directory, error.message()));
  if (::access(directory.c_str(), W_OK | X_OK) != 0) return io_error(fmt::format("--plot: cannot write in {}: {}", directory, std::strerror(errno)));
  return {};
}

Status write_plots(const RunPlots& plots, const std::string& directory) {
  for (const RunPlots::File& file : plots.plots()) SLUICE_TRY_STATUS(write_text_file(directory + "/" + file.name, file.plot.to_svg()));
  return {};
}

/// From the file, or measured on the model now, or the built-in one.
Result<StepCost> find_cost(const SimulateFlags& flags) {
  if (!flags.calibrate_model.empty()) {
    EngineFlags real;
    real.model = flags.calibrate_model;
    real.engine.max_num_seqs = flags.engine.max_num_seqs;
    real.engine.max_num_batched_tokens = flags.engine.max_num_batched_tokens;
    real.engine.max_model_len = 0;
    real.engine.max_waiting = kEveryRequest;
    SLUICE_TRY(const auto stack, load_engine_stack(real));
    return calibrate(*stack, flags.calibrate_model, kCalibrationRequests);
  }
  if (flags.cost_path.empty()) return StepCost::built_in();
  SLUICE_TRY(const std::string text, read_file(flags.cost_path));
  return StepCost::from_json(text, flags.cost_path);
}

}  // namespace

Result<int> simulate_main(const std::vector<std::string>& args) {
  SimulateFlags flags;
  WorkloadFlags& workload = flags.workload;
  EngineOptions& engine = flags.engine;
  workload.num_prompts = 0;
  workload.request_rate = "trace";
  engine.max_model_len = 0;
  engine.max_waiting = kEveryRequest;
  OptionSet options(
      "sluice simulate",
      "Replays a trace through the same engine, scheduler and policies that serve, with a step-time model in place of\n"
      "the computation, and prints the report of 'sluice bench serve'.");
  options.add("--cost", flags.cost_path,
              "step-time model, as 'sluice bench calibrate' writes it; without one, that of a 0.5B model in Q8_0 on two cores");
  options.add("--calibrate", flags.calibrate_model, "measures the step-time model of this model on this machine first, as 'sluice bench calibrate' does");
  workload.declare(options);
  options.group("Replicas");
  options.add("--replicas", flags.replicas, "engines that share the load, each with all of what the flags below say");
  options.add("--router", flags.router, catalog_help("which replica gets a request", router_catalog()));
  options.group("Engine");
  options.add("--num-kv-tokens", flags.kv_tokens,
              "tokens that the KV cache holds; 0: what --max-num-seqs full contexts need");
  options.add("-c,--max-model-len", engine.max_model_len,
              "context: most tokens of one sequence; 0: the longest request");
  options.add("--num-host-kv-tokens", flags.host_kv_tokens, "tokens that host memory beside it keeps (--swap-space of serve)");
  options.add("--num-disk-kv-tokens", flags.disk_kv_tokens, "tokens that a disk keeps (--kv-disk of serve)");
  declare_scheduling(options, engine);
  options.group("Output");
  options.add("--result-file", flags.result_path, "write the report as JSON too");
  options.add("--timeline", flags.timeline_path,
              "write what every step did to this file, as a Chrome trace (for Perfetto or chrome://tracing; 0.3 KB a step)");
  options.add("--plot", flags.plot_dir, "write plots over time to this directory: queue.svg, kv.svg, ttft.svg, tbt.svg");
  SLUICE_TRY(const auto outcome, options.parse(args));
  if (outcome == OptionSet::Outcome::done) return 0;
  SLUICE_TRY_STATUS(flags.check(options));
  if (workload.trace.empty()) {  // random requests have no times and no number of their own
    if (workload.num_prompts == 0) workload.num_prompts = 100;
    if (workload.request_rate == "trace") workload.request_rate = "inf";
  }
  SLUICE_TRY_STATUS(workload.check_given(options));
  // All that can be refused is, before anything is measured or read.
  SLUICE_TRY_STATUS(workload.check());
  SLUICE_TRY_STATUS(check_scheduling(engine));
  SLUICE_TRY(auto router, make_router(flags.router, {engine.block_tokens, workload.seed}));
  SLUICE_TRY(const StepCost cost, find_cost(flags));
  std::fputs(fmt::format("# step times of {}, {}{}\n", cost.model, cost.machine,
                         flags.cost_path.empty() && flags.calibrate_model.empty() ? "; 'sluice bench calibrate' measures those of a model here" : "").c_str(), stdout);
  SLUICE_TRY(const auto requests, RequestStream::open(workload, 1 << 20));
  const RequestStream::Extent extent = requests->extent();
  if (engine.max_model_len == 0) engine.max_model_len = std::max(2, extent.longest);
  if (flags.kv_tokens == 0) flags.kv_tokens = int64_t{engine.max_model_len} * engine.max_num_seqs;
  engine.host_blocks = static_cast<int>(flags.host_kv_tokens / std::max(1, engine.block_tokens));
  engine.disk_blocks = static_cast<int>(flags.disk_kv_tokens / std::max(1, engine.block_tokens));
  const int64_t kv_blocks = flags.kv_tokens / std::max(1, engine.block_tokens) + 1;
  if (kv_blocks > kMostBlocks)
    return invalid_argument(fmt::format("a KV cache of {} tokens{} has {} blocks of {}; at most {} are possible: give a smaller --num-kv-tokens or a larger --block-size", flags.kv_tokens,
                                        options.given("num-kv-tokens") ? "" : " (--max-num-seqs full contexts)", kv_blocks, engine.block_tokens, kMostBlocks), "--num-kv-tokens");
  engine.kv_blocks = static_cast<int>(kv_blocks);
  for (const std::string& note : fallbacks(engine)) std::fputs(("# " + note + "\n").c_str(), stdout);
  engine.step_time = std::make_shared<CostStepTime>(cost);
  SLUICE_TRY(const auto cluster, Cluster::build(engine, flags.replicas, cost, std::move(router)));

  std::unique_ptr<Timeline> timeline;
  if (!flags.timeline_path.empty()) {
    SLUICE_TRY(timeline, Timeline::open(flags.timeline_path, flags.replicas));
  }
  std::unique_ptr<RunPlots> plots;
  if (!flags.plot_dir.empty()) {
    SLUICE_TRY_STATUS(open_plots(flags.plot_dir));
    plots = std::make_unique<RunPlots>(flags.replicas);
  }
  RealClock wall;
  const Nanos start = wall.now();
  Progress progress("simulating");
  ReportBuilder builder(workload.goodput);
  int64_t ended = 0;
  ClusterHooks hooks;
  hooks.arrived = [&](Nanos arrival) { builder.arrived(arrival); };
  hooks.ended = [&](const RequestRecord& record) {
    builder.add(record);
    if (plots) plots->ended(record);
    progress.update(static_cast<double>(++ended), static_cast<double>(extent.requests));
  };
  if (timeline || plots)
    hooks.stepped = [&](const ReplicaStep& step) {
      if (timeline) timeline->stepped(step);
      if (plots) plots->stepped(step);
    };
  cluster->run([&](Request& request) { return requests->next(request); }, hooks);
  const ServingReport report = builder.report();
  std::fputs(report.to_text().c_str(), stdout);
  std::fputs(fmt::format("{}\nsimulated {:.1f} s in {:.2f} s\n", summary(cluster->stats()), report.duration_s,
                         static_cast<double>(wall.now() - start) / 1e9).c_str(), stdout);
  if (!flags.result_path.empty()) SLUICE_TRY_STATUS(write_text_file(flags.result_path, report.to_json()));
  if (timeline) SLUICE_TRY_STATUS(timeline->close());
  if (plots) SLUICE_TRY_STATUS(write_plots(*plots, flags.plot_dir));
  return report.failed == 0 ? 0 : 1;
}

}  // namespace sluice
