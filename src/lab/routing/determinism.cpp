#include "lab/routing/fleet.h"
#include "route/catalog.h"

namespace sluice::lab {
namespace {

Result<Finding> run_determinism(const Setting& setting) {
  const Load load = many_apps({.n = setting.quick ? 300 : 3000, .output_mean = 128, .rate = 40});
  EngineOptions options = engine_options(2048, 4 * 1024);  // small enough to preempt
  Finding f;
  double simulated_s = 0;
  uint64_t steps = 0, preemptions = 0;
  for (const RouterEntry& router : router_catalog()) {
    SLUICE_TRY(const Fleet once, run_fleet(options, load, 3, std::string(router.name)));
    SLUICE_TRY(const Fleet again, run_fleet(options, load, 3, std::string(router.name)));
    const std::string a = once.log(), b = again.log();
    f.must(fmt::format("two runs are equal to the byte, {}", router.name), a == b, fmt::format("{} and {} bytes of steps, token times and report", a.size(), b.size()));
    simulated_s += once.report.duration_s;
    steps += once.steps.size();
    for (const EngineStats& s : once.replicas) preemptions += s.preemptions;
  }
  // No effect: there is nothing that it is better than; its checks say all.
  f.count("simulated seconds", simulated_s, simulated_s);
  f.count("steps", static_cast<double>(steps), static_cast<double>(steps));
  f.count("preemptions", static_cast<double>(preemptions), static_cast<double>(preemptions));
  return f;
}

}  // namespace

extern const Experiment kSimulator;
const Experiment kSimulator = {
    .name = "simulator",
    .ids = "-",
    .group = "simulation",
    .technique = "Discrete-event simulation with the real engine, scheduler and policies",
    .paper = "after Agrawal et al., Vidur, MLSys 2024",
    .file = "src/sim/cluster.h",
    .flag = "`sluice simulate`",
    .test = "`src/sim/cluster_test.cpp`, `src/sim/sim_test.cpp`",
    .baseline = "the same run again",
    .workload = "3 simulated replicas under every router, twice",
    .holds = "deterministic: steps, token times and report equal to the byte; what it predicts against the engine: docs/simulator.md",
    .run = run_determinism};

}  // namespace sluice::lab
