#pragma once
// Prefill first: while any prompt waits or is unfinished, the step is made of prompts alone and decodes pause. Best time
// to first token and throughput, worst gaps between tokens. Lossless.
// As in Orca (Yu et al., OSDI 2022) and the first scheduler of vLLM (Kwon et al., SOSP 2023).

#include <algorithm>

#include "sched/policies.h"

namespace sluice {

class PrefillFirst final : public ChunkPolicy {
 public:
  int band(const Sequence& seq) const override { return seq.remaining() == 1 && seq.output_tokens() > 0 ? 1 : 0; }
  int tokens_for(const Sequence& seq, int remaining, std::span<const Decided> plan, Budget left) const override {
    const bool prompts_in_plan = !plan.empty() && band(*plan.front().seq) == 0;
    if (band(seq) == 1 && prompts_in_plan) return 0;
    return std::min(remaining, left.tokens);
  }
};

}  // namespace sluice
