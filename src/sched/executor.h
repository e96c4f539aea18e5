#pragma once
// Runs plans. The real one computes; the simulated one advances a virtual clock. One plan is in flight at a time.

#include <cstdint>
#include <optional>
#include <vector>

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
  /// Rows that each expert of a mixture has computed since the start, [layers][experts], empty for layers without; from any thread.
  virtual std::vector<std::vector<int64_t>> expert_rows() const { return {}; }
};

}  // namespace sluice
