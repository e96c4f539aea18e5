#pragma once
// Admission with a watermark: a sequence starts when blocks for all of its present tokens are free or evictable and a
// small reserve is left for those that already run. Lossless.
// Source: PagedAttention (Kwon et al., SOSP 2023) as served by vLLM.

#include <cmath>

#include "sched/policies.h"

namespace sluice {

class Watermark final : public AdmissionGate {
 public:
  Watermark(double share, bool sequences_grow) : share_(share), sequences_grow_(sequences_grow) {}

  Verdict admit(const Candidate& candidate, const View& view, std::span<const Decided> plan) const override {
    if (candidate.blocks_in_all > view.total_blocks) return Verdict::never;
    // The reserve protects sequences that run; alone, a sequence may have everything.
    const bool alone = view.running.empty() && plan.empty();
    const int reserve = alone || !sequences_grow_ ? 0 : std::max(1, static_cast<int>(std::ceil(share_ * view.total_blocks)));
    return candidate.blocks_needed + reserve <= view.available_blocks ? Verdict::yes : Verdict::not_yet;
  }

 private:
  double share_;
  bool sequences_grow_;
};

}  // namespace sluice
