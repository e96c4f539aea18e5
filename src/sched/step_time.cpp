#include "sched/step_time.h"

namespace sluice {
namespace {
constexpr int kTileRows = 16;
}

StepShape step_shape(const StepPlan& plan) {
  StepShape shape;
  for (const PlanItem& item : plan.items) shape.add(item.first_pos - item.dropped, item.n_tokens, item.samples + item.n_scored);
  return shape;
}

std::optional<int> tokens_within(const StepTimeEstimate& estimate, Nanos limit, const StepShape& so_far, int first_pos, int most) {
  if (!estimate.step_ns(so_far)) return std::nullopt;
  const auto fits = [&](int n) {
    StepShape shape = so_far;
    shape.add(first_pos, n, 1);
    return *estimate.step_ns(shape) <= static_cast<double>(limit);
  };
  int low = 0, high = most + 1;  // low fits, high does not or is too many
  while (high - low > 1) {
    const int middle = low + (high - low) / 2;
    (fits(middle) ? low : high) = middle;
  }
  if (low == most) return low;
  const int over = (static_cast<int>(so_far.rows) + low) % kTileRows;
  return over < low ? low - over : low;
}

std::optional<int> knee_tokens(const StepTimeEstimate& estimate, int most) {
  const auto throughput = [&](int n) {
    StepShape shape;
    shape.rows = n;
    return n / *estimate.step_ns(shape);
  };
  if (!estimate.step_ns({})) return std::nullopt;
  double best = throughput(most);
  for (int n = 1; n < most; n *= 2) best = std::max(best, throughput(n));
  for (int n = kTileRows; n < most; n += kTileRows)
    if (throughput(n) >= kKneeShare * best) return n;
  return most;
}

}  // namespace sluice
