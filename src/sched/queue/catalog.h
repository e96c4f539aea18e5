#pragma once
#include <memory>
#include <span>
#include <string_view>

#include "sched/policies.h"
#include "sched/queue/client_weights.h"

namespace sluice {

/// What queue policies are made of; each takes what its line says that it reads.
struct QueueOptions {
  Nanos aging = 0;  // --aging-ms; 0: the policy's own
  const PrefixCache* cache = nullptr;  // outlives the policy
  const LengthPredictor* lengths = nullptr;  // outlives the policy; null where none reads it
  ClientWeights weights = {};  // --client-weights
};

/// One line per technique; `--scheduling-policy NAME`.
struct QueuePolicyEntry {
  std::string_view name, help;
  std::unique_ptr<QueuePolicy> (*make)(const QueueOptions& options);
  bool reads_priority = false;  // of requests; under the others the server refuses one that gives it
  Nanos aging = 0;              // the default of --aging-ms; 0: the policy does not age, and the flag is an error
  bool reads_lengths = false;   // --length-predictor
  bool reads_weights = false;   // --client-weights
};
std::span<const QueuePolicyEntry> queue_catalog();

}  // namespace sluice
