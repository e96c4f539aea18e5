#pragma once
#include <memory>
#include <span>
#include <string_view>

#include "sched/policies.h"

namespace sluice {

/// One line per technique; `--preemption-policy NAME`. The queue policy outlives the made policy.
struct PreemptPolicyEntry {
  std::string_view name, help;
  std::unique_ptr<PreemptPolicy> (*make)(const QueuePolicy& queue);
  bool reads_priority = false;  // of requests
};
std::span<const PreemptPolicyEntry> preempt_catalog();

}  // namespace sluice
