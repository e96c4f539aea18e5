#include "kv/tier/fifo.h"
#include "kv/tier/lru.h"
#include "kv/tier/queue_aware.h"
#include "kv/tier/tier_policy.h"

namespace sluice {

std::span<const TierPolicyEntry> tier_policy_catalog() {
  static constexpr TierPolicyEntry kEntries[] = {
      {"queue-aware", "fetches for those who wait next, and protects what they need; else least recently used",
       []() -> std::unique_ptr<TierPolicy> { return std::make_unique<QueueAwareTier>(); }},
      {"lru", "least recently used first", []() -> std::unique_ptr<TierPolicy> { return std::make_unique<LruTier>(); }},
      {"fifo", "oldest first", []() -> std::unique_ptr<TierPolicy> { return std::make_unique<FifoTier>(); }},
  };
  return kEntries;
}

}  // namespace sluice
