#pragma once
// The seam of KV tiers: which block leaves a tier when another one needs its slot, and whether the waiting queue is
// looked at to bring blocks in before they are needed.

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

namespace sluice {

/// What a policy may know of a block in a tier. Ticks count the index's operations.
struct TierBlockUse {
  uint64_t saved = 0;      // tick
  uint64_t last_used = 0;  // tick
};

struct TierPolicy {
  virtual ~TierPolicy() = default;
  /// The block with the lowest goes first.
  virtual uint64_t keep(const TierBlockUse& use) const = 0;
  /// Of so many of the sequences that wait next, blocks are brought from disk to host memory, and of twice as many none
  /// is given up while another can be.
  virtual int look_ahead() const { return 0; }
};

/// One line per technique; `--kv-tier-policy NAME`.
struct TierPolicyEntry {
  std::string_view name, help;
  std::unique_ptr<TierPolicy> (*make)();
};
std::span<const TierPolicyEntry> tier_policy_catalog();

}  // namespace sluice
