#include "lab/routing/fleet.h"

namespace sluice::lab {
namespace {

Result<Finding> run_prefix_aware(const Setting& setting) {
  // Four replicas; the cache of each holds a third of the prefixes, so that together they hold all, if each keeps its own.
  constexpr int kReplicas = 4;
  const Apps shape{.n = setting.quick ? 600 : 6000};
  const Load load = many_apps(shape);
  EngineOptions options = engine_options(1024, shape.apps * shape.prefix / 3 + 16 * 700);
  options.max_num_seqs = 16;
  SLUICE_TRY(const Fleet blind, run_fleet(options, load, kReplicas, "round-robin"));
  SLUICE_TRY(const Fleet aware, run_fleet(options, load, kReplicas, "prefix-aware"));

  Finding f;
  f.must("every request is served under both", blind.report.failed + aware.report.failed == 0 && blind.report.completed == shape.n && aware.report.completed == shape.n);
  f.must("more of the prompts are found in the caches", aware.hit_rate() > blind.hit_rate(), fmt::format("{:.1f} % and {:.1f} %", 100 * blind.hit_rate(), 100 * aware.hit_rate()));
  const double fair = static_cast<double>(shape.n) / kReplicas;
  f.must("no replica serves twice its share", static_cast<double>(aware.busiest_requests()) < 2 * fair, fmt::format("{} of {} requests", aware.busiest_requests(), shape.n));
  f.effect = {"simulated TTFT, mean", "ms", blind.report.ttft_ms.mean, aware.report.ttft_ms.mean, Better::lower, false};
  f.count("prompt tokens found in the caches, %", 100 * blind.hit_rate(), 100 * aware.hit_rate());
  f.count("simulated TTFT, p99, ms", blind.report.ttft_ms.p99, aware.report.ttft_ms.p99);
  f.count("requests of the busiest replica", static_cast<double>(blind.busiest_requests()), static_cast<double>(aware.busiest_requests()));
  return f;
}

}  // namespace

extern const Experiment kPrefixAwareRouting;
const Experiment kPrefixAwareRouting = {
    .name = "prefix-aware-routing",
    .ids = "-",
    .group = "routing",
    .technique = "Prefix-aware routing: to the replica whose cache has the prompt, while loads are close",
    .paper = "SGLang v0.4's cache-aware load balancer, 2024; Srivatsa et al., Preble, ICLR 2025",
    .file = "src/route/prefix_aware.h",
    .flag = "`simulate --replicas N --router prefix-aware`",
    .test = "`src/route/router_test.cpp`, `src/sim/cluster_test.cpp`",
    .baseline = "round robin",
    .workload = "simulated, 4 replicas, prompts of 32 applications that share 512 tokens each, each cache for a third of them",
    .holds = "lossless; higher hit rate, no replica serves twice its share",
    .run = run_prefix_aware};

}  // namespace sluice::lab
