#pragma once
// Split and fuse: every step has the same number of tokens. Decodes go first, one token each; prompts fill the rest of
// the step exactly, long ones split, short ones fused. The size is where the curve of throughput over step size flattens,
// unless one is given. Lossless.
// Paper: DeepSpeed-FastGen (Holmes et al., 2024), Dynamic SplitFuse.

#include <algorithm>

#include "sched/step_time.h"

namespace sluice {

class SplitAndFuse final : public ChunkPolicy {
 public:
  /// `forward_tokens`: the size; 0: the knee that `step_time` (which may be null) shows, and while it shows none the
  /// whole budget.
  SplitAndFuse(int forward_tokens, int token_budget, const StepTimeEstimate* step_time)
      : forward_tokens_(forward_tokens), token_budget_(token_budget), step_time_(step_time) {}

  int band(const Sequence& seq) const override { return seq.remaining() == 1 && seq.output_tokens() > 0 ? 0 : 1; }
  int tokens_for(const Sequence& seq, int remaining, std::span<const Decided>, Budget left) const override {
    const int most = std::min(remaining, left.tokens);
    if (band(seq) == 0) return most;
    return std::clamp(size() - (token_budget_ - left.tokens), 0, most);
  }

 private:
  int size() const {
    if (forward_tokens_ > 0) return std::min(forward_tokens_, token_budget_);
    return step_time_ == nullptr ? token_budget_ : knee_tokens(*step_time_, token_budget_).value_or(token_budget_);
  }

  int forward_tokens_, token_budget_;
  const StepTimeEstimate* step_time_;
};

}  // namespace sluice
