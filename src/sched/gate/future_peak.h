#pragma once
// How many blocks running sequences will hold at the worst moment, if they live no longer than they may.
// Source: LightLLM, "Past-Future Scheduler" (Gong et al., ASPLOS 2025): sort by remaining length descending; when the i-th
// ends, those before it still grow, peak = max_i (sum_{j<=i} a_j + i r_i). Here in blocks, rounded up per sequence, and for
// sequences that may be held up. Shared blocks count once for each sharer, so that the peak is never too low.

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

/// Of a sequence with its unborn samples: one claim each.
void add_claims(const Sequence& seq, bool in_step, std::vector<Claim>& claims);

/// The most blocks that all hold at once, whatever happens to those that are not in step; O(n (log n + block_tokens)).
int64_t future_peak_blocks(std::vector<Claim> claims, int block_tokens);

}  // namespace sluice
