#pragma once
// Split and fuse: every step has the same number of tokens. Decodes go first, one token each; prompts fill the rest of
// the budget exactly, long ones split, short ones fused. Lossless.
// Paper: DeepSpeed-FastGen (Holmes et al., 2024), Dynamic SplitFuse.

#include <algorithm>

#include "sched/policies.h"

namespace sluice {

class SplitAndFuse final : public ChunkPolicy {
 public:
  int band(const Sequence& seq) const override { return seq.remaining() == 1 && seq.output_tokens() > 0 ? 0 : 1; }
  int tokens_for(const Sequence&, int remaining, std::span<const Decided>, Budget left) const override {
    return std::min(remaining, left.tokens);
  }
};

}  // namespace sluice
