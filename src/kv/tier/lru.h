#pragma once
// Least recently used first. Lossless: what is given up is computed again.

#include "kv/tier/tier_policy.h"

namespace sluice {

class LruTier final : public TierPolicy {
 public:
  uint64_t keep(const TierBlockUse& use) const override { return use.last_used; }
};

}  // namespace sluice
