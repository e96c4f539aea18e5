#pragma once
// The step-time model of the simulator: linear in a few counts of the plan, fitted to measured steps of this engine on
// this machine. After the inference cost models of Vidur (Agrawal et al., MLSys 2024), kept as small as the error allows.

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "sched/step_time.h"

namespace sluice {

/// What a step costs by: fixed work (the weights' stream), rows (RowTerms), sampled rows, key-value positions read, and row-position pairs.
struct StepFeatures {
  static constexpr int kCount = 8;
  static constexpr std::array<std::string_view, kCount> kNames = {"step",    "rows",    "rows_to_16",  "rows_to_64", "rows_past_64",
                                                                  "sampled", "context", "row_context"};
  std::array<double, kCount> x{};
};
StepFeatures step_features(const StepShape& shape);
inline StepFeatures step_features(const StepPlan& plan) { return step_features(step_shape(plan)); }

struct MeasuredStep {
  StepFeatures features;
  double ns = 0;
};

struct StepCost {
  std::array<double, StepFeatures::kCount> ns{};  // per unit of each feature, all >= 0
  std::string model, machine;                     // what was measured, for the reader of the file

  /// That of a 0.5B model in Q8_0 on two cores with AVX-512, for those who have calibrated nothing.
  static StepCost built_in();
  double step_ns(const StepFeatures& features) const;
  /// Least absolute relative error with non-negative terms, which steps that something else disturbed hardly move.
  static StepCost fit(const std::vector<MeasuredStep>& steps);
  /// Mean of |predicted - measured| / measured, and the error of the sum, over steps that were not used for the fit.
  struct Error { double mean_relative = 0, total_relative = 0; };
  Error error(const std::vector<MeasuredStep>& held_out) const;

  std::string to_json() const;
  static Result<StepCost> from_json(const std::string& text, const std::string& origin);
};

/// The policies' estimate, by the model that the simulated steps take their time from: never wrong.
class CostStepTime final : public StepTimeEstimate {
 public:
  explicit CostStepTime(StepCost cost) : cost_(std::move(cost)) {}
  std::optional<double> step_ns(const StepShape& shape) const override { return cost_.step_ns(step_features(shape)); }

 private:
  StepCost cost_;
};

}  // namespace sluice
