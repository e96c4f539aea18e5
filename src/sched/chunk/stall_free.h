#pragma once
// Stall-free chunks: all decodes run in every step; the prefill tokens beside them are capped, so that a long prompt
// lengthens each step by at most one chunk. The prompt already in progress goes before new ones. Without decodes the
// whole budget is the prompts'. Lossless.
// Paper: Sarathi-Serve (Agrawal et al., OSDI 2024), algorithm 3; with a target for the time between tokens the chunk is
// the longest whose step is predicted to take no longer (section 4.3, there from an offline profile).

#include <algorithm>

#include "sched/step_time.h"

namespace sluice {

class StallFree final : public ChunkPolicy {
 public:
  /// The chunk is as long as the step has decodes, within these bounds.
  StallFree(int least_tokens, int most_tokens) : least_tokens_(least_tokens), most_tokens_(most_tokens) {}
  /// The longest that keeps the step within `target`; by those bounds while `step_time` knows too little.
  StallFree(int least_tokens, int most_tokens, Nanos target, const StepTimeEstimate& step_time)
      : least_tokens_(least_tokens), most_tokens_(most_tokens), target_(target), step_time_(&step_time) {}

  int band(const Sequence& seq) const override {
    if (decodes(seq)) return 0;
    return seq.state == Sequence::State::running ? 1 : 2;
  }
  int tokens_for(const Sequence& seq, int remaining, std::span<const Decided> plan, Budget left) const override {
    const int most = std::min(remaining, left.tokens);
    if (decodes(seq)) return most;
    int decoding = 0, prefill = 0;
    StepShape so_far;
    for (const Decided& d : plan) {
      if (decodes(*d.seq)) ++decoding;
      else prefill += d.n_tokens;
      so_far.add(d);
    }
    if (decoding == 0) return most;
    if (step_time_ != nullptr) {
      const int first_pos = static_cast<int>(seq.tokens.size()) - remaining - seq.table.dropped();
      // Where decodes alone take as long as the target it is missed anyway: prompts go on by a little.
      const int least = prefill == 0 ? std::min(kLeastProgress, most) : 0;
      if (const auto n = tokens_within(*step_time_, target_, so_far, first_pos, most)) return std::max(least, *n);
    }
    const int chunk = std::min(std::max(least_tokens_, decoding), most_tokens_);
    return std::clamp(chunk - prefill, 0, most);
  }

 private:
  static constexpr int kLeastProgress = 4;
  static bool decodes(const Sequence& seq) { return seq.remaining() == 1 && seq.output_tokens() > 0; }
  int least_tokens_, most_tokens_;
  Nanos target_ = 0;
  const StepTimeEstimate* step_time_ = nullptr;
};

}  // namespace sluice
