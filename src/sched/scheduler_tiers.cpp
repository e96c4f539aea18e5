// What the scheduler does with KV tiers: blocks that a sequence finds there at admission, those that are fetched for who
// waits, and what becomes of those that were lost (docs/adr/0011).

#include <algorithm>

#include "sched/scheduler.h"

namespace sluice {

/// The blocks behind a hit that some tier has and that are worth loading. Never the last token's: its logits are wanted.
TierHit Scheduler::restorable(const Sequence& seq, const PrefixHit& hit) const {
  TierHit restore;
  if (!tiers_.config().any() || seq.scores_prompt()) return restore;
  const int held = static_cast<int>(hit.blocks.size());
  const std::span<const TokenId> tokens = seq.exact_tokens();
  const int most = static_cast<int>(std::min(tokens.size(), seq.tokens.size() - 1)) / pool_.block_tokens() - held;
  if (most <= 0) return restore;
  restore = tiers_.match(seq.request->salt, tokens, held, most);
  restore.blocks.resize(static_cast<size_t>(policies_.restore->blocks_to_load(restore, pool_.block_tokens())));
  return restore;
}

void Scheduler::restore(Sequence& seq, const TierHit& hit, StepPlan& plan) {
  for (const TierHit::Block& block : hit.blocks) {
    BlockRef to = fresh_block(seq.table.ids());
    loads_.push_back({seq.id, seq.table.size() * pool_.block_tokens(), block.key->hash});
    plan.copies.push_back(tiers_.load(*block.key, to.id()));
    seq.table.push(std::move(to));
  }
  // What the sequence holds with these, before another takes any.
  const int hold = policies_.allocator->blocks_to_hold(seq.table.size() * pool_.block_tokens());
  while (seq.table.size() < hold) seq.table.push(fresh_block(seq.table.ids()));
}

void Scheduler::fetch_for_waiting(StepPlan& plan, Nanos now) {
  const int most = tiers_.look_ahead_sequences();
  if (most == 0) return;
  std::vector<TierNeed> needs;
  for (const Sequence* s : first_waiting(static_cast<size_t>(most), now)) needs.push_back({s->request->salt, s->exact_tokens()});
  tiers_.look_ahead(needs);
  for (KvCopy& copy : tiers_.take_copies()) plan.copies.push_back(std::move(copy));
}

void Scheduler::settle_tiers(const StepPlan& plan, const StepResult& result, Nanos now) {
  if (!tiers_.config().any()) return;
  tiers_.settled();
  RestoreSample sample{now - committed_at_, plan.tokens(), result.load_ns, 0, 0};
  for (const KvCopy& copy : plan.copies) {
    sample.loaded_host += copy.from == Tier::host && copy.to == Tier::pool;
    sample.loaded_disk += copy.from == Tier::disk && copy.to == Tier::pool;
  }
  policies_.restore->learn(sample);
  for (const uint64_t hash : result.lost) tiers_.lost(hash);
  // A sequence whose block did not arrive has KV up to there, and what the step made of it is void.
  for (const Load& load : loads_) {
    if (std::ranges::find(result.lost, load.hash) == result.lost.end()) continue;
    Sequence& seq = at(load.seq);
    seq.computed = std::min(seq.computed, load.first_pos);
  }
}

}  // namespace sluice
