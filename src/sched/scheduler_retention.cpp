// What the scheduler does with lossy KV retention: it says when a sequence lets go of how many tokens, and frees their
// blocks; which ones is the executor's to know (docs/adr/0013).

#include "sched/scheduler.h"

namespace sluice {

void Scheduler::evict_kv(Sequence& seq, StepPlan& plan) {
  const int dropped = policies_.retention->dropped_at(seq.prompt_tokens(), seq.computed);
  if (dropped == seq.table.dropped()) return;
  const int before = seq.computed - seq.table.dropped(), after = seq.computed - dropped;
  CHECK(after > 0 && after < before, "sequence {} keeps {} of {} slots", seq.id, after, before);
  const auto ids = seq.table.ids();
  plan.evictions.push_back({seq.id, seq.computed, before, after, {ids.begin(), ids.end()}});
  seq.table.truncate(policies_.allocator->blocks_to_hold(after));
  seq.table.set_dropped(dropped);
}

}  // namespace sluice
