#pragma once
// Oldest first, used or not: the baseline. Lossless.

#include "kv/tier/tier_policy.h"

namespace sluice {

class FifoTier final : public TierPolicy {
 public:
  uint64_t keep(const TierBlockUse& use) const override { return use.saved; }
};

}  // namespace sluice
