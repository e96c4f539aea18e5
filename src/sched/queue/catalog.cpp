#include "sched/queue/catalog.h"

#include "sched/queue/fcfs.h"
#include "sched/queue/longest_prefix.h"
#include "sched/queue/mlfq.h"
#include "sched/queue/priority.h"
#include "sched/queue/priority_aging.h"
#include "sched/queue/shortest_job.h"
#include "sched/queue/vtc.h"

namespace sluice {
namespace {
constexpr Nanos kSecond = 1'000'000'000;
}

std::span<const QueuePolicyEntry> queue_catalog() {
  static constexpr QueuePolicyEntry kEntries[] = {
      {"fcfs", "first come, first served", [](const QueueOptions&) -> std::unique_ptr<QueuePolicy> { return std::make_unique<Fcfs>(); }},
      {"priority", "the request's priority field, low first, then arrival",
       [](const QueueOptions&) -> std::unique_ptr<QueuePolicy> { return std::make_unique<Priority>(); }, true},
      {"priority-aging", "the same, where waiting for the time of aging lifts a request by a class, and one for which there is no room takes the place of lower classes that run",
       [](const QueueOptions& o) -> std::unique_ptr<QueuePolicy> { return std::make_unique<PriorityAging>(o.aging); }, true, 30 * kSecond},
      {"sjf", "the shortest prompt and predicted output, where waiting for the time of aging makes up for one token",
       [](const QueueOptions& o) -> std::unique_ptr<QueuePolicy> { return std::make_unique<ShortestJob>(*o.lengths, o.aging); },
       false, kSecond / 10, true},
      {.name = "vtc", .help = "the client that has had least service, by weighted virtual token counters",
       .make = [](const QueueOptions& o) -> std::unique_ptr<QueuePolicy> { return std::make_unique<Vtc>(o.weights); },
       .reads_weights = true},
      {.name = "lpm", .help = "the longest match in the prefix cache, but after the time of aging in the order of arrival",
       .make = [](const QueueOptions& o) -> std::unique_ptr<QueuePolicy> { return std::make_unique<LongestPrefix>(*o.cache, o.aging); },
       .aging = 10 * kSecond},
      {.name = "mlfq", .help = "a multi-level feedback queue: who has run least goes first and takes the place of others; after waiting for the time of aging from the top again",
       .make = [](const QueueOptions& o) -> std::unique_ptr<QueuePolicy> { return std::make_unique<Mlfq>(o.aging); },
       .aging = 10 * kSecond},
  };
  return kEntries;
}

}  // namespace sluice
