#include "sched/gate/future_peak.h"

#include <algorithm>

namespace sluice {

void add_claims(const Sequence& seq, bool in_step, std::vector<Claim>& claims) {
  const int steps = std::max(1, seq.request->max_tokens - seq.output_tokens());
  const bool first_is_ahead = seq.output_tokens() == 0;
  claims.insert(claims.end(), static_cast<size_t>(first_is_ahead && seq.sample == 0 ? seq.request->lines() : 1),
                Claim{static_cast<int>(seq.tokens.size()), steps, in_step});
  // When samples part, all copy the block that they share, and the scheduler counts one copy more than is made.
  if (first_is_ahead && seq.request->lines() > 1) claims.push_back({1, 1, false});
}

int64_t future_peak_blocks(std::vector<Claim> claims, int block_tokens) {
  const auto blocks = [&](int64_t positions) { return (positions + block_tokens - 1) / block_tokens; };
  for (Claim& c : claims)  // the step ahead
    if (!c.in_step && c.steps > 1) ++c.positions, --c.steps;
  std::ranges::sort(claims, std::ranges::greater{}, &Claim::steps);
  int64_t at_full_length = 0;  // of those not in step that have no more than the present claim's steps
  for (const Claim& c : claims)
    if (!c.in_step) at_full_length += blocks(int64_t{c.positions} + c.steps - 1);
  // Those that still grow: a + t positions are q + ceil((s + t mod B) / B) + t / B blocks, with a = q B + s.
  int64_t growing = 0, quotients = 0, peak = 0;
  std::vector<int> residues(static_cast<size_t>(block_tokens));
  for (size_t i = 0; i < claims.size(); ++i) {
    const Claim& c = claims[i];
    if (!c.in_step) at_full_length -= blocks(int64_t{c.positions} + c.steps - 1);
    ++growing;
    quotients += c.positions / block_tokens;
    ++residues[static_cast<size_t>(c.positions % block_tokens)];
    if (i + 1 < claims.size() && claims[i + 1].steps == c.steps) continue;
    const int t = c.steps - 1, u = t % block_tokens;
    int64_t rounding = growing - (u == 0 ? residues[0] : 0);
    for (int s = block_tokens - u + 1; s < block_tokens; ++s) rounding += residues[static_cast<size_t>(s)];
    peak = std::max(peak, at_full_length + quotients + growing * (t / block_tokens) + rounding);
  }
  return peak;
}

}  // namespace sluice
