#pragma once
// Parallel sampling: when a prompt's first token is there, the sequence splits into the request's n samples, which share
// the prompt's blocks and copy only what they write. Lossless; techniques: best-of-n, self-consistency.
// Source: PagedAttention (Kwon et al., SOSP 2023), section 4.4.

#include "sched/policies.h"

namespace sluice {

class ParallelSampling final : public Branching {
 public:
  std::vector<Fork> after(const Sequence& seq, const SampledToken&) override {
    std::vector<Fork> forks;
    if (seq.sample != 0 || seq.output_tokens() != 1) return forks;
    for (int sample = 1; sample < seq.request->n; ++sample) forks.push_back({seq.id, sample, seq.prompt_tokens()});
    return forks;
  }
};

}  // namespace sluice
