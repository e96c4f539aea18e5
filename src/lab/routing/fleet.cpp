#include "lab/routing/fleet.h"

#include <algorithm>

#include "base/rng.h"
#include "route/catalog.h"
#include "sim/trace.h"

namespace sluice::lab {

double Fleet::hit_rate() const {
  uint64_t hits = 0, asked = 0;
  for (const EngineStats& s : replicas) hits += s.prefix_hits_tokens, asked += s.prefix_queries_tokens;
  return asked > 0 ? static_cast<double>(hits) / static_cast<double>(asked) : 0;
}

uint64_t Fleet::busiest_requests() const { return std::ranges::max_element(replicas, {}, &EngineStats::finished_requests)->finished_requests; }

std::string Fleet::log() const {
  std::string text;
  for (const ReplicaStep& s : steps)
    text += fmt::format("step {} {} {} {} {} {} {} {}\n", s.replica, s.start, s.end, s.tokens, s.stats.running, s.stats.waiting, s.stats.free_blocks, s.stats.preemptions);
  for (const RequestRecord& r : records) {
    text += fmt::format("request {} {} {}:", r.arrival, r.prompt_tokens, r.error);
    for (const Nanos t : r.token_times) text += fmt::format(" {}", t);
    text += '\n';
  }
  return text + report.to_json();
}

Result<Fleet> run_fleet(const EngineOptions& options, const Load& load, int replicas, const std::string& router, const StepCost& cost) {
  SLUICE_TRY(auto policy, make_router(router, {options.block_tokens, 0}));
  SLUICE_TRY(const auto cluster, Cluster::build(options, replicas, cost, std::move(policy)));
  Fleet fleet;
  ReportBuilder builder({});
  ClusterHooks hooks;
  hooks.arrived = [&](Nanos arrival) { builder.arrived(arrival); };
  hooks.ended = [&](const RequestRecord& record) {
    builder.add(record);
    fleet.records.push_back(record);
  };
  hooks.stepped = [&](const ReplicaStep& step) { fleet.steps.push_back(step); };
  size_t at = 0;
  cluster->run([&](Request& request) {
    if (at == load.requests.size()) return false;
    request = load.requests[at];
    request.arrival = load.arrivals[at++];
    return true;
  }, hooks);
  fleet.replicas = cluster->stats();
  fleet.report = builder.report();
  return fleet;
}

Load many_apps(const Apps& shape) {
  Rng rng(17);
  std::vector<double> weight(static_cast<size_t>(shape.apps));
  double all = 0;
  for (size_t k = 0; k < weight.size(); ++k) weight[k] = all += 1 / static_cast<double>(k + 1);
  Load load;
  double at_s = 0;
  for (int i = 0; i < shape.n; ++i) {
    const auto app = static_cast<uint64_t>(std::ranges::upper_bound(weight, rng.next_double() * all) - weight.begin());
    TraceRequest entry;
    entry.prompt_tokens = shape.prefix + static_cast<int>(rng.between(1, 2 * shape.own - 1));
    entry.output_tokens = std::clamp(static_cast<int>(rng.next_exponential(1.0 / shape.output_mean)), 1, 8 * shape.output_mean);
    entry.prefix_hashes = {app + 1};
    entry.hash_block_tokens = shape.prefix;
    load.requests.push_back(trace_request(entry, static_cast<size_t>(i), 1, 32'000));
    load.arrivals.push_back(static_cast<Nanos>(at_s * 1e9));
    at_s += rng.next_exponential(shape.rate);
  }
  return load;
}

}  // namespace sluice::lab
