#include "sched/step_time_fit.h"

#include <algorithm>
#include <cmath>

namespace sluice {
namespace {
constexpr int kRefitSteps = 32;       // also the first fit
constexpr double kKept = 0.999;       // of an old step's weight, at each new one: the last thousand count
constexpr double kRowsRange = 2;      // rows must have varied by this factor before rows and the fixed part can be told apart
constexpr double kSmallError = 0.05;  // relative; a larger one weighs down the step that shows it
}  // namespace

StepTimeFit::Terms StepTimeFit::terms(const StepShape& shape) {
  const RowTerms rows(shape.rows);
  return {1, rows.to_16, rows.to_64, rows.all, rows.past_64, shape.sampled, shape.row_context};
}

std::optional<double> StepTimeFit::step_ns(const StepShape& shape) const {
  if (!known_) return std::nullopt;
  const Terms t = terms(shape);
  double ns = 0;
  for (int i = 0; i < kTerms; ++i) ns += ns_[i] * t[i];
  return ns;
}

void StepTimeFit::measured(const StepShape& shape, Nanos ns) {
  if (ns <= 0 || shape.rows <= 0) return;
  const double took = static_cast<double>(ns);
  const double error = known_ ? std::abs(*step_ns(shape) / took - 1) : 0;
  const double weight = kSmallError / std::max(kSmallError, error);
  Terms t = terms(shape);
  for (double& v : t) v /= took;
  for (int i = 0; i < kTerms; ++i) {
    x_[i] = kKept * x_[i] + weight * t[i];
    for (int j = 0; j < kTerms; ++j) xx_[i][j] = kKept * xx_[i][j] + weight * t[i] * t[j];
  }
  fewest_rows_ = steps_ == 0 ? shape.rows : std::min(fewest_rows_, shape.rows);
  most_rows_ = std::max(most_rows_, shape.rows);
  if (++steps_ % kRefitSteps == 0 && most_rows_ >= kRowsRange * fewest_rows_) fit();
}

/// Coordinate descent on columns of unit norm, clipped at zero; it starts where the last fit ended.
void StepTimeFit::fit() {
  Terms scale{}, w{};
  for (int i = 0; i < kTerms; ++i) {
    scale[i] = xx_[i][i] > 0 ? 1 / std::sqrt(xx_[i][i]) : 0;
    w[i] = scale[i] > 0 ? ns_[i] / scale[i] : 0;
  }
  for (int sweep = 0; sweep < 1000; ++sweep)
    for (int i = 0; i < kTerms; ++i) {
      double gradient = x_[i] * scale[i];
      for (int j = 0; j < kTerms; ++j) gradient -= xx_[i][j] * scale[i] * scale[j] * w[j];
      w[i] = std::max(0.0, w[i] + gradient);
    }
  for (int i = 0; i < kTerms; ++i) ns_[i] = w[i] * scale[i];
  known_ = true;
}

}  // namespace sluice
