#pragma once
// Exact admission: a sequence starts when, were every sequence to reach its max_tokens, the pool would still never be too
// small: the future peak of all that run, with it, fits. Nobody is preempted then, and more are admitted than if each had
// its full length reserved, since they do not all reach it at once. Lossless.
// Source: LightLLM's router; "Past-Future Scheduler" (Gong et al., ASPLOS 2025). Orca (Yu et al., OSDI 2022) reserves the
// full length: `reserve`, the same test with nobody in step.

#include "sched/gate/future_peak.h"

namespace sluice {

class ExactAdmission final : public AdmissionGate {
 public:
  /// `lockstep`: every sequence that has its first token computes in every step in which another one does. Where the
  /// token budget is smaller than the number of sequences that is not so, and full lengths are reserved.
  explicit ExactAdmission(bool lockstep) : lockstep_(lockstep) {}

  Verdict admit(const Candidate& candidate, const View& view, std::span<const Decided> plan) const override {
    const int64_t total = view.total_blocks;
    const int64_t length = static_cast<int64_t>(candidate.seq.tokens.size());
    if ((length + view.block_tokens - 1) / view.block_tokens > total) return Verdict::never;
    if (view.running.empty() && plan.empty()) return Verdict::yes;  // alone it may have everything
    Claims claims(view.block_tokens);
    for (const Sequence* s : view.running) claims.add(*s, lockstep_ && s->output_tokens() > 0 && s->remaining() == 1, s->table.refs());
    // Of a prompt that is cached to its last token that token's block is held twice, until the step has copied it.
    const auto starts = [&](const Sequence& s, int first_pos, std::span<const BlockRef> hit) {
      claims.add(s, false, hit);
      if (first_pos > 0 && s.tokens.size() % view.block_tokens == 0 && first_pos + 1 == static_cast<int>(s.tokens.size())) claims.add_copy();
    };
    for (const Decided& d : plan)  // their hits are not looked into again: for this step they count in full
      if (d.seq->state == Sequence::State::waiting) starts(*d.seq, d.first_pos, {});
    starts(candidate.seq, candidate.cached_tokens, candidate.hit);
    const bool fits = future_peak_blocks(claims.take(), view.block_tokens) <= total;
    return fits && candidate.blocks_needed <= view.available_blocks ? Verdict::yes : Verdict::not_yet;
  }

 private:
  bool lockstep_;
};

}  // namespace sluice
