#pragma once
// The step-time model of the simulator: linear in a few counts of the plan, fitted to measured steps of this engine on
// this machine. After the inference cost models of Vidur (Agrawal et al., MLSys 2024), kept as small as the error allows.

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "sched/step_plan.h"

namespace sluice {

/// What a step costs by: fixed work, rows, sampled rows, sequences, key-value positions read, row-position pairs, and
/// whether only few rows share the weights' stream.
struct StepFeatures {
  static constexpr int kCount = 6;
  static constexpr std::array<std::string_view, kCount> kNames = {"step",     "rows",    "few_rows",
                                                                  "sampled",  "context", "row_context"};
  std::array<double, kCount> x{};
};
StepFeatures step_features(const StepPlan& plan);

struct MeasuredStep {
  StepFeatures features;
  double ns = 0;
};

struct StepCost {
  std::array<double, StepFeatures::kCount> ns{};  // per unit of each feature, all >= 0
  std::string model, machine;                     // what was measured, for the reader of the file

  double step_ns(const StepFeatures& features) const;
  /// Non-negative least squares on relative error, without the steps that lie far off the first fit.
  static StepCost fit(const std::vector<MeasuredStep>& steps);
  /// Mean of |predicted - measured| / measured, and the error of the sum, over steps that were not used for the fit.
  struct Error { double mean_relative = 0, total_relative = 0; };
  Error error(const std::vector<MeasuredStep>& held_out) const;

  std::string to_json() const;
  static Result<StepCost> from_json(const std::string& text, const std::string& origin);
};

}  // namespace sluice
