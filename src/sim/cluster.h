#pragma once
// Replicas behind a router, simulated: each is a whole engine with a simulated executor and a clock of its own; the one
// whose step ends first goes on first. Deterministic: a run is a function of its arguments.

#include <functional>
#include <memory>
#include <vector>

#include "engine/build_engine.h"
#include "route/router.h"
#include "sim/serving_report.h"
#include "sim/sim_executor.h"

namespace sluice {

/// A step that has ended.
struct ReplicaStep {
  ReplicaId replica = 0;
  Nanos start = 0, end = 0;
  int tokens = 0;
  EngineStats stats;  // of its replica, at the end
};

/// Who wants to watch; each may be empty. All are called in order of time.
struct ClusterHooks {
  std::function<void(Nanos arrival)> arrived;                // a request came
  std::function<void(const RequestRecord& record)> ended;    // it has ended, well or not
  std::function<void(const ReplicaStep& step)> stepped;
};

class Cluster {
 public:
  /// Fills in the next request and says so, in ascending order of `arrival`; false at the end.
  using NextRequest = std::function<bool(Request& request)>;

  static Result<std::unique_ptr<Cluster>> build(const EngineOptions& options, int replicas, const StepCost& cost,
                                                std::unique_ptr<Router> router);
  ~Cluster();
  /// Until every request has ended. A request is asked for when the one before it has arrived, and forgotten when it
  /// ends: what is held does not grow with their number.
  void run(const NextRequest& next_request, const ClusterHooks& hooks = {});
  std::vector<EngineStats> stats() const;

 private:
  struct Replica;
  Cluster() = default;
  void send(Request request, const ClusterHooks& hooks);
  void settle(ReplicaId id, const ClusterHooks& hooks);
  void start(ReplicaId id, Nanos now);

  std::unique_ptr<Router> router_;
  std::vector<std::unique_ptr<Replica>> replicas_;
  std::vector<ReplicaLoad> loads_;  // as the router sees them
};

}  // namespace sluice
