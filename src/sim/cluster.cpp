#include "sim/cluster.h"

#include <algorithm>

namespace sluice {

struct Cluster::Replica {
  Replica(const StepCost& cost) : executor(cost, clock) {}

  VirtualClock clock;
  SimExecutor executor;
  std::unique_ptr<Engine> engine;
  // An engine's step() plans at its start and settles at its end, at once in real time. What came of it is held back
  // until the cluster's time is that of its end.
  bool stepping = false;
  Nanos wakes = 0;  // while a gate holds back all that it has; 0: not
  ReplicaStep step;
  std::vector<std::shared_ptr<RequestRecord>> ended;
};

Cluster::~Cluster() = default;

Result<std::unique_ptr<Cluster>> Cluster::build(const EngineOptions& options, int replicas, const StepCost& cost,
                                                std::unique_ptr<Router> router) {
  CHECK(replicas > 0);
  std::unique_ptr<Cluster> cluster(new Cluster);
  cluster->router_ = std::move(router);
  for (int i = 0; i < replicas; ++i) {
    auto replica = std::make_unique<Replica>(cost);
    SLUICE_TRY(replica->engine, build_engine(options, replica->executor, replica->clock));
    const EngineStats stats = replica->engine->stats();
    cluster->loads_.push_back({0, 0, stats.total_blocks, stats.free_blocks});
    cluster->replicas_.push_back(std::move(replica));
  }
  return cluster;
}

void Cluster::run(const NextRequest& next_request, const ClusterHooks& hooks) {
  Request request;
  bool more = next_request(request);
  for (;;) {
    Nanos now = more ? request.arrival : INT64_MAX;
    for (const auto& replica : replicas_)
      if (replica->stepping) now = std::min(now, replica->step.end);
      else if (replica->wakes > 0) now = std::min(now, replica->wakes);
    if (now == INT64_MAX) return;
    const auto n = static_cast<ReplicaId>(replicas_.size());
    for (ReplicaId i = 0; i < n; ++i)
      if (replicas_[i]->stepping && replicas_[i]->step.end <= now) settle(i, hooks);
    while (more && request.arrival <= now) {
      send(std::move(request), hooks);
      request = {};
      more = next_request(request);
    }
    for (ReplicaId i = 0; i < n; ++i)
      if (!replicas_[i]->stepping && !replicas_[i]->engine->idle()) start(i, now);
  }
}

void Cluster::send(Request request, const ClusterHooks& hooks) {
  const ReplicaId to = router_->route(request, loads_);
  CHECK(to >= 0 && to < static_cast<ReplicaId>(replicas_.size()), "the router chose replica {}", to);
  Replica& replica = *replicas_[to];
  auto record = std::make_shared<RequestRecord>();
  record->arrival = request.arrival;
  record->prompt_tokens = static_cast<int>(request.prompt.size());
  if (hooks.arrived) hooks.arrived(request.arrival);
  if (!replica.stepping) replica.clock.advance_to(request.arrival);
  const auto id = replica.engine->add(std::move(request), [record, &replica](const Output& out) {
    record->token_times.insert(record->token_times.end(), out.tokens.size(), replica.clock.now());
    if (out.finish == FinishReason::error) record->error = std::string(out.error);
    if (!out.request_done) return;
    record->ok = out.finish == FinishReason::stop || out.finish == FinishReason::length;
    replica.ended.push_back(record);
  });
  if (id.ok()) {
    ++loads_[to].waiting;
  } else {
    record->error = id.error().message;
    if (hooks.ended) hooks.ended(*record);
  }
}

void Cluster::start(ReplicaId id, Nanos now) {
  Replica& replica = *replicas_[id];
  replica.clock.advance_to(now);
  const uint64_t tokens_before = replica.step.stats.step_tokens;
  const bool worked = replica.engine->step();
  replica.wakes = worked ? 0 : replica.engine->held_until();
  if (!worked) return;
  replica.stepping = true;
  replica.step = {id, now, replica.clock.now(), 0, replica.engine->stats()};
  replica.step.tokens = static_cast<int>(replica.step.stats.step_tokens - tokens_before);
}

void Cluster::settle(ReplicaId id, const ClusterHooks& hooks) {
  Replica& replica = *replicas_[id];
  replica.stepping = false;
  const EngineStats stats = replica.engine->stats();  // knows the requests that were sent during the step
  replica.step.stats = stats;
  loads_[id] = {stats.running, stats.waiting, stats.total_blocks, stats.free_blocks + stats.cached_idle_blocks};
  if (hooks.ended)
    for (const auto& record : replica.ended) hooks.ended(*record);
  replica.ended.clear();
  if (hooks.stepped) hooks.stepped(replica.step);
}

std::vector<EngineStats> Cluster::stats() const {
  std::vector<EngineStats> stats;
  for (const auto& replica : replicas_) stats.push_back(replica->engine->stats());
  return stats;
}

}  // namespace sluice
