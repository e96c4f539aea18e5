#pragma once
// How many blocks running sequences will hold at the worst moment, if they live no longer than they may.
// Source: LightLLM, "Past-Future Scheduler" (Gong et al., ASPLOS 2025): sort by remaining length descending; when the i-th
// ends, those before it still grow, peak = max_i (sum_{j<=i} a_j + i r_i). Here in blocks, rounded up per sequence, and for
// sequences that may be held up. A block that several share counts for the one that may live longest.

#include <span>
#include <vector>

#include "sched/policies.h"

namespace sluice {

/// What one sequence may come to hold: `positions` when it next computes to its end, one more each time after that, over
/// `steps` steps; then nothing.
struct Claim {
  int positions = 0, steps = 1;
  // It computes in the same steps as the others that are in step. One that is not (its prompt is not yet computed) may take
  // one step while those pause, and may be held up, so that it has its full length for any time.
  bool in_step = false;
};

/// The claims of sequences as they are told of.
class Claims {
 public:
  explicit Claims(int block_tokens) : block_tokens_(block_tokens) {}

  /// A sequence with its unborn samples: one claim each, of which those share the prompt's full blocks. `blocks`: what it holds.
  void add(const Sequence& seq, bool in_step, std::span<const BlockRef> blocks);
  /// A block that is held for one step.
  void add_copy() { claims_.push_back({1, 1, false}); }
  /// Every shared block is one of the sharer's that may hold it longest: while any of them lives, it does.
  std::vector<Claim> take();

 private:
  struct Holder {
    size_t claim;
    std::span<const BlockRef> shared;
  };
  int block_tokens_;
  std::vector<Claim> claims_;
  std::vector<Holder> holders_;
};

/// The most blocks that all hold at once, whatever happens to those that are not in step; O(n (log n + block_tokens)).
int64_t future_peak_blocks(std::vector<Claim> claims, int block_tokens);

}  // namespace sluice
