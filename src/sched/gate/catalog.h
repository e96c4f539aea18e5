#pragma once
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "sched/policies.h"

namespace sluice {

struct GateOptions {
  double watermark = 0.01;    // --watermark: share of the pool that admission leaves free
  bool prefix_cache = true;  // whether a running sequence publishes what it computes
  bool sequences_grow = true;  // whether they may need more blocks than at admission, for which some are left free
};

/// One line per technique. A batching mode names the gates that stand in its row, all of which must say yes;
/// `--batching NAME`.
struct BatchingEntry {
  std::string_view name, help;
  std::vector<std::unique_ptr<AdmissionGate>> (*make)(const GateOptions& options);
};
std::span<const BatchingEntry> batching_catalog();

}  // namespace sluice
