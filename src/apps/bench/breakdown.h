#pragma once
// Where the time of steps went: one line per kind of work, each against the roofline of that work.

#include <string>
#include <vector>

#include "apps/bench/roofline.h"
#include "apps/engine_stack.h"
#include "backend/op_meter.h"

namespace sluice {

/// Meters the stack's steps while it lives. Metered steps take a little longer, so that figures which are reported come
/// from others.
class StepMeter {
 public:
  explicit StepMeter(EngineStack& stack) : stack_(stack), before_(stack.executor->times()) {
    stack_.ops->set_meter(&meter_);
  }
  ~StepMeter() { stack_.ops->set_meter(nullptr); }
  StepMeter(const StepMeter&) = delete;
  StepMeter& operator=(const StepMeter&) = delete;

  const OpMeter& ops() const { return meter_; }
  /// What the executor did since.
  StepTimes times() const;

 private:
  EngineStack& stack_;
  StepTimes before_;
  OpMeter meter_;
};

/// Time that is no op's: its name and its seconds.
struct OtherTime {
  std::string name;
  double seconds = 0;
};

/// A table of the mean step: every op with its share of `seconds`, what it moved and computed per second, and the share
/// of the roofline at which it ran; then the others, and what is left of `seconds`.
std::string breakdown_text(const std::string& title, const OpMeter& ops, const std::vector<OtherTime>& others,
                           double seconds, double steps, const Roofline& roofline);

}  // namespace sluice
