#pragma once
// Stall-free chunks: all decodes run in every step; the prefill tokens beside them are capped, so that a long prompt
// lengthens each step by at most one chunk. The prompt already in progress goes before new ones. Without decodes the
// whole budget is the prompts'. Lossless.
// Paper: Sarathi-Serve (Agrawal et al., OSDI 2024), algorithm 3.

#include <algorithm>

#include "sched/policies.h"

namespace sluice {

class StallFree final : public ChunkPolicy {
 public:
  /// The chunk is as long as the step has decodes, within these bounds.
  StallFree(int least_tokens, int most_tokens) : least_tokens_(least_tokens), most_tokens_(most_tokens) {}

  int band(const Sequence& seq) const override {
    if (decodes(seq)) return 0;
    return seq.state == Sequence::State::running ? 1 : 2;
  }
  int tokens_for(const Sequence& seq, int remaining, std::span<const Decided> plan, Budget left) const override {
    if (decodes(seq)) return std::min(remaining, left.tokens);
    int decoding = 0, prefill = 0;
    for (const Decided& d : plan) {
      if (decodes(*d.seq)) ++decoding;
      else prefill += d.n_tokens;
    }
    const int chunk = std::min(std::max(least_tokens_, decoding), most_tokens_);
    const int cap = decoding > 0 ? std::max(0, chunk - prefill) : left.tokens;
    return std::min({remaining, left.tokens, cap});
  }

 private:
  static bool decodes(const Sequence& seq) { return seq.remaining() == 1 && seq.output_tokens() > 0; }
  int least_tokens_, most_tokens_;
};

}  // namespace sluice
