#include "sched/queue/catalog.h"

#include "sched/queue/fcfs.h"
#include "sched/queue/priority.h"

namespace sluice {

std::span<const QueuePolicyEntry> queue_catalog() {
  static constexpr QueuePolicyEntry kEntries[] = {
      {"fcfs", "first come, first served", []() -> std::unique_ptr<QueuePolicy> { return std::make_unique<Fcfs>(); }},
      {"priority", "the request's priority field, low first, then arrival",
       []() -> std::unique_ptr<QueuePolicy> { return std::make_unique<Priority>(); }, true},
  };
  return kEntries;
}

}  // namespace sluice
