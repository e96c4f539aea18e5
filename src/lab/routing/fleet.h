#pragma once
// The bed of experiments on several replicas: simulated engines behind a router.

#include <string>
#include <vector>

#include "lab/run.h"
#include "sim/cluster.h"

namespace sluice::lab {

struct Fleet {
  std::vector<RequestRecord> records;  // in the order in which they ended
  std::vector<ReplicaStep> steps;
  std::vector<EngineStats> replicas;
  ServingReport report;

  double hit_rate() const;            // prompt tokens that a prefix cache held, of all
  uint64_t busiest_requests() const;  // of the replica that served most
  /// Every step, every token's time and the report, as text.
  std::string log() const;
};

Result<Fleet> run_fleet(const EngineOptions& options, const Load& load, int replicas, const std::string& router,
                        const StepCost& cost = StepCost::built_in());

/// Conversations with `apps` applications: each request has its application's prompt of `prefix` tokens (a popular one more
/// often: the k-th with weight 1/k), and `own` tokens on average of its own. Poisson arrivals.
struct Apps {
  int n = 400, apps = 32, prefix = 512, own = 64, output_mean = 32;
  double rate = 8;
};
Load many_apps(const Apps& shape);

}  // namespace sluice::lab
