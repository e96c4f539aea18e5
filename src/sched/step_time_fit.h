#pragma once
// The step time of this engine on this machine, fitted to its own steps as they come: non-negative terms of a few counts,
// least squares of the relative error, old steps forgotten, disturbed ones weighted down.

#include <array>

#include "sched/step_time.h"

namespace sluice {

class StepTimeFit final : public StepTimeEstimate {
 public:
  std::optional<double> step_ns(const StepShape& shape) const override;
  void measured(const StepShape& shape, Nanos ns) override;

 private:
  // Per step, the terms of its rows, sampled ones, and row-position pairs.
  static constexpr int kTerms = 7;
  using Terms = std::array<double, kTerms>;
  static Terms terms(const StepShape& shape);
  void fit();

  Terms ns_{};                         // per term
  std::array<Terms, kTerms> xx_{};     // of terms divided by the measured time, decayed
  Terms x_{};
  double fewest_rows_ = 0, most_rows_ = 0;
  int steps_ = 0;
  bool known_ = false;
};

}  // namespace sluice
