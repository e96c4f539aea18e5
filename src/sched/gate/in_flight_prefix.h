#pragma once
// Waits for a prefix that is being computed right now: when a sequence of this step computes blocks that the
// candidate needs too, admitting the candidate would compute them twice. Others may pass it meanwhile. Lossless.
// The idea is RadixAttention's (Zheng et al., NeurIPS 2024): one prefill serves all who share it, also when they arrive
// at once.

#include <algorithm>

#include "sched/policies.h"

namespace sluice {

class InFlightPrefix final : public AdmissionGate {
 public:
  Verdict admit(const Candidate& candidate, const View& view, std::span<const Decided> plan) const override {
    if (candidate.seq.scores_prompt()) return Verdict::yes;  // it takes nothing from the cache
    // A full hit has all but the last token, which is computed anyway.
    const int length = static_cast<int>(candidate.seq.tokens.size());
    if (candidate.cached_tokens + 1 >= length) return Verdict::yes;
    const int next_block_end = (candidate.cached_tokens / view.block_tokens + 1) * view.block_tokens;
    if (next_block_end > static_cast<int>(candidate.seq.exact_tokens().size())) return Verdict::yes;
    // Only those that compute in this step count: to wait for one that stands still itself could be for ever.
    for (const Decided& decided : plan)
      if (computes(decided, candidate.seq, next_block_end)) return Verdict::pass_over;
    return Verdict::yes;
  }

 private:
  /// Is the block that ends at `end` ahead of that sequence, and the candidate's too?
  static bool computes(const Decided& decided, const Sequence& candidate, int end) {
    const Sequence& other = *decided.seq;
    return other.request->salt == candidate.request->salt && decided.first_pos < end &&
           end <= static_cast<int>(other.exact_tokens().size()) &&
           std::equal(other.tokens.begin(), other.tokens.begin() + end, candidate.tokens.begin());
  }
};

}  // namespace sluice
