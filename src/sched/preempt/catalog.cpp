#include "sched/preempt/catalog.h"

#include "sched/preempt/lowest_priority.h"
#include "sched/preempt/youngest_first.h"

namespace sluice {

std::span<const PreemptPolicyEntry> preempt_catalog() {
  static constexpr PreemptPolicyEntry kEntries[] = {
      {"recompute", "the last in queue order gives up its blocks and is computed again later",
       [](const QueuePolicy& queue) -> std::unique_ptr<PreemptPolicy> { return std::make_unique<YoungestFirst>(queue); }},
      {"lowest-priority", "the same for the highest priority number, and the last to come of those, among all that the queue puts behind the one that needs them",
       [](const QueuePolicy& queue) -> std::unique_ptr<PreemptPolicy> { return std::make_unique<LowestPriority>(queue); }, true},
  };
  return kEntries;
}

}  // namespace sluice
