#pragma once
// Runs plans. The real one computes; the simulated one advances a virtual clock. One plan is in flight at a time.

#include <cstdint>
#include <optional>

#include "base/result.h"
#include "sched/step_plan.h"

namespace sluice {

using Ticket = uint64_t;

struct Executor {
  virtual ~Executor() = default;
  /// Starts the plan; its spans must stay valid until the result was polled.
  virtual Ticket submit(const StepPlan& plan) = 0;
  /// The result once the step is done; nothing before.
  virtual std::optional<StepResult> poll(Ticket ticket) = 0;
  /// Nothing will be submitted for a while: finishes what goes on beside the steps.
  virtual void idle() {}
};

}  // namespace sluice
