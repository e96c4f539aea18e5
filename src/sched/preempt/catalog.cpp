#include "sched/preempt/catalog.h"

#include "sched/preempt/youngest_first.h"

namespace sluice {

std::span<const PreemptPolicyEntry> preempt_catalog() {
  static constexpr PreemptPolicyEntry kEntries[] = {
      {"recompute", "the last in queue order gives up its blocks and is computed again later",
       [](const QueuePolicy& queue) -> std::unique_ptr<PreemptPolicy> { return std::make_unique<YoungestFirst>(queue); }},
  };
  return kEntries;
}

}  // namespace sluice
