#pragma once
// Whether blocks that a tier has are loaded, or computed again. Both give the same bits.
// Source: the choice between swapping and recomputation of Kwon et al. (SOSP 2023), 4.5 and 7.3, made by what both have cost here.

#include <memory>
#include <span>
#include <string_view>

#include "base/ids.h"
#include "kv/tier/tier_index.h"

namespace sluice {

/// What a step did, for those who learn from it.
struct RestoreSample {
  Nanos step_ns = 0;  // all of the step, loads included
  int tokens = 0;     // computed
  Nanos load_ns = 0;  // of it, waiting for loads
  int loaded_host = 0, loaded_disk = 0;  // blocks
};

struct RestorePolicy {
  virtual ~RestorePolicy() = default;
  /// How many of the hit's blocks, from the first on, are to be loaded.
  virtual int blocks_to_load(const TierHit& hit, int block_tokens) const = 0;
  virtual void learn(const RestoreSample&) {}
};

/// One line per technique; `--kv-restore NAME`.
struct RestorePolicyEntry {
  std::string_view name, help;
  std::unique_ptr<RestorePolicy> (*make)();
};
std::span<const RestorePolicyEntry> restore_catalog();

}  // namespace sluice
