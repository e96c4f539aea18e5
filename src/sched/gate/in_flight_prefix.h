#pragma once
// Waits for a prefix that is being computed right now: when a running sequence is about to compute blocks that the
// candidate needs too, admitting the candidate would compute them twice. Others may pass it meanwhile. Lossless.
// The idea is RadixAttention's (Zheng et al., NeurIPS 2024): one prefill serves all who share it, also when they arrive
// at once.

#include <algorithm>

#include "sched/policies.h"

namespace sluice {

class InFlightPrefix final : public AdmissionGate {
 public:
  Verdict admit(const Candidate& candidate, const View& view, std::span<const Decided> plan) const override {
    for (const Sequence* running : view.running)
      if (computes_for(*running, candidate, view.block_tokens)) return Verdict::pass_over;
    for (const Decided& decided : plan)
      if (computes_for(*decided.seq, candidate, view.block_tokens)) return Verdict::pass_over;
    return Verdict::yes;
  }

 private:
  /// Will `other` publish, while it catches up, a block that the candidate lacks?
  static bool computes_for(const Sequence& other, const Candidate& candidate, int block_tokens) {
    if (other.request->salt != candidate.seq.request->salt) return false;
    // Only what it computes beyond the present hit counts, and the candidate's last token is computed anyway.
    const int next_block_end = (candidate.cached_tokens / block_tokens + 1) * block_tokens;
    const int useful = std::min(static_cast<int>(candidate.seq.tokens.size()), static_cast<int>(other.tokens.size()));
    if (next_block_end > useful || other.computed >= next_block_end) return false;
    return std::equal(other.tokens.begin(), other.tokens.begin() + next_block_end, candidate.seq.tokens.begin());
  }
};

}  // namespace sluice
