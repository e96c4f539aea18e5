#include "sched/gate/future_peak.h"

#include <algorithm>
#include <unordered_set>

namespace sluice {

void Claims::add(const Sequence& seq, bool in_step, std::span<const BlockRef> blocks) {
  const int steps = std::max(1, seq.request->max_tokens - seq.output_tokens());
  const int positions = static_cast<int>(seq.tokens.size());
  // Shared blocks stand first, and who shares one shares all before it. That of the last position is written to, by a
  // sharer into a copy of its own.
  const int full = (positions - 1) / block_tokens_;
  blocks = blocks.first(std::min(blocks.size(), static_cast<size_t>(full)));
  const auto end = std::ranges::partition_point(blocks, [](const BlockRef& block) { return block.holders() >= 2; });
  if (end != blocks.begin()) holders_.push_back({claims_.size(), {blocks.begin(), end}});
  claims_.push_back({positions, steps, in_step});
  if (seq.output_tokens() > 0 || seq.sample > 0 || seq.request->lines() == 1) return;
  const int own = positions - full * block_tokens_;
  claims_.insert(claims_.end(), static_cast<size_t>(seq.request->lines() - 1), Claim{own, steps, in_step});
  // When samples part, all copy the block that they share, and the scheduler counts one copy more than is made.
  add_copy();
}

std::vector<Claim> Claims::take() {
  std::ranges::sort(holders_, {}, [&](const Holder& h) { return std::pair(claims_[h.claim].in_step, -claims_[h.claim].steps); });
  std::unordered_set<BlockId> charged;
  for (const Holder& holder : holders_) {
    const auto own = std::ranges::partition_point(holder.shared, [&](const BlockRef& block) { return charged.contains(block.id()); });
    claims_[holder.claim].positions -= static_cast<int>(own - holder.shared.begin()) * block_tokens_;
    for (auto block = own; block != holder.shared.end(); ++block) charged.insert(block->id());
  }
  return std::move(claims_);
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
