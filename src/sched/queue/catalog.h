#pragma once
#include <memory>
#include <span>
#include <string_view>

#include "sched/policies.h"

namespace sluice {

/// One line per technique; `--scheduling-policy NAME`.
struct QueuePolicyEntry {
  std::string_view name, help;
  std::unique_ptr<QueuePolicy> (*make)();
  bool reads_priority = false;  // of requests; under the others the server refuses one that gives it
};
std::span<const QueuePolicyEntry> queue_catalog();

}  // namespace sluice
