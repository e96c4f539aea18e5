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
};
std::span<const QueuePolicyEntry> queue_catalog();

}  // namespace sluice
