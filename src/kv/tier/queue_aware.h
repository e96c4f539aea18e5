#pragma once
// Looks at the waiting queue: blocks that the next sequences will need are brought from disk to memory while others
// run, and are given up last; among the rest least recently used first. Lossless.
// Paper: CachedAttention (Gao et al., USENIX ATC 2024), sections 3.3.1 (scheduler-aware fetching) and 3.3.2 (eviction).

#include "kv/tier/tier_policy.h"

namespace sluice {

class QueueAwareTier final : public TierPolicy {
 public:
  explicit QueueAwareTier(int sequences = 8) : sequences_(sequences) {}
  uint64_t keep(const TierBlockUse& use) const override { return use.last_used; }
  int look_ahead() const override { return sequences_; }

 private:
  int sequences_;
};

}  // namespace sluice
