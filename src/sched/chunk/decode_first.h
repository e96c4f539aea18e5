#pragma once
// Decode first: while any sequence has tokens to generate, the step is made of those alone; prompts wait until none is
// left. Best gaps between tokens, worst time to first token and throughput. Lossless.
// As in FasterTransformer (NVIDIA), whose batches run to their end; the decode-prioritizing side of the trade-off that
// Sarathi-Serve (Agrawal et al., OSDI 2024, section 3) describes.

#include <algorithm>

#include "sched/policies.h"

namespace sluice {

class DecodeFirst final : public ChunkPolicy {
 public:
  int band(const Sequence& seq) const override { return seq.remaining() == 1 && seq.output_tokens() > 0 ? 0 : 1; }
  int tokens_for(const Sequence& seq, int remaining, std::span<const Decided> plan, Budget left) const override {
    const bool decodes_in_plan = !plan.empty() && band(*plan.front().seq) == 0;
    if (band(seq) == 1 && decodes_in_plan) return 0;
    return std::min(remaining, left.tokens);
  }
};

}  // namespace sluice
