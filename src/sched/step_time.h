#pragma once
// How long a step will take, for policies that keep a time limit. The server fits it to its own steps
// (sched/step_time_fit.h); the simulator answers from its cost model.

#include <algorithm>
#include <optional>

#include "sched/policies.h"

namespace sluice {

/// The counts of a step that its time depends on.
struct StepShape {
  double rows = 0;         // positions computed
  double sampled = 0;      // of them, those that yield logits
  double context = 0;      // positions read, once for each sequence
  double row_context = 0;  // positions read, once for each row that reads them

  void add(int first_pos, int n_tokens, int n_sampled) {
    const double end = first_pos + n_tokens;
    rows += n_tokens;
    sampled += n_sampled;
    context += end;
    row_context += n_tokens * (end - 0.5 * (n_tokens - 1));
  }
  void add(const Decided& d) {
    add(d.first_pos - d.seq->table.dropped(), d.n_tokens, d.first_pos + d.n_tokens == static_cast<int>(d.seq->tokens.size()));
  }
};
StepShape step_shape(const StepPlan& plan);

/// What rows cost by, whoever fits the prices: all, the first 16 and 64 (fewer fill the kernels' tiles worse), and those past 64 (where
/// nothing hides behind the weights' stream any more).
struct RowTerms {
  double all, to_16, to_64, past_64;
  explicit RowTerms(double rows) : all(rows), to_16(std::min(rows, 16.0)), to_64(std::min(rows, 64.0)), past_64(std::max(rows - 64.0, 0.0)) {}
};

struct StepTimeEstimate {
  virtual ~StepTimeEstimate() = default;
  /// Nothing while too little is known.
  virtual std::optional<double> step_ns(const StepShape& shape) const = 0;
  /// What a step took; the engine tells of every one.
  virtual void measured(const StepShape&, Nanos) {}
};

/// The most positions of a prompt, from `first_pos` on, that the step in the making can take in without exceeding
/// `limit`; with them its rows fill whole tiles of the kernels where that is possible. 0 where not even one fits; nothing
/// where the estimate knows too little.
std::optional<int> tokens_within(const StepTimeEstimate& estimate, Nanos limit, const StepShape& so_far, int first_pos, int most);

/// The knee of the curve of throughput over step size: the fewest tokens in one step that reach kKneeShare of the best
/// throughput of any step of up to `most`. Nothing where the estimate knows too little.
inline constexpr double kKneeShare = 0.9;
std::optional<int> knee_tokens(const StepTimeEstimate& estimate, int most);

}  // namespace sluice
