#pragma once
// The executor of the simulator: a step takes the time that the cost model says, on a virtual clock; tokens are made up.

#include "base/clock.h"
#include "sched/executor.h"
#include "sim/step_cost.h"

namespace sluice {

/// What a block takes from another tier into the pool; saving and fetching are taken to hide behind the steps.
struct TierCost {
  double host_block_ns = 20e3, disk_block_ns = 200e3;
};

class SimExecutor final : public Executor {
 public:
  SimExecutor(StepCost cost, VirtualClock& clock, TierCost tiers = {}) : cost_(std::move(cost)), tiers_(tiers), clock_(clock) {}

  Ticket submit(const StepPlan& plan) override;
  /// Moves the clock to the end of the step.
  std::optional<StepResult> poll(Ticket ticket) override;

 private:
  StepCost cost_;
  TierCost tiers_;
  VirtualClock& clock_;
  StepResult result_;
  Nanos done_at_ = 0;
  Ticket ticket_ = 0;
};

/// Wraps the real executor and notes what each step cost, for the fit.
class RecordingExecutor final : public Executor {
 public:
  RecordingExecutor(Executor& inner, const Clock& clock) : inner_(inner), clock_(clock) {}

  Ticket submit(const StepPlan& plan) override;
  std::optional<StepResult> poll(Ticket ticket) override;
  const std::vector<MeasuredStep>& steps() const { return steps_; }

 private:
  Executor& inner_;
  const Clock& clock_;
  std::vector<MeasuredStep> steps_;
  StepFeatures features_;
  Nanos started_ = 0;
};

}  // namespace sluice
