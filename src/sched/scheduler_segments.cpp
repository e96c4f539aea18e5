// What the scheduler does with segments of prompts whose KV is no prefix (docs/adr/0015-modular-kv.md).

#include <algorithm>
#include <utility>

#include "sched/scheduler.h"

namespace sluice {

void Scheduler::find_kept_history(Nanos now) {
  constexpr size_t kMost = 4;  // of a queue
  if (config_.cache_reuse == 0) return;
  for (const Sequence* s : first_waiting(kMost, now)) find_kept_history(at(s->id));
}

void Scheduler::find_kept_history(Sequence& seq) {
  const Request& request = *seq.request;
  const std::vector<KvSegment>& known = request.reuse.segments;
  // The lines of one request are told to belong together by their request, which this would change.
  if (request.prompt_logprobs >= 0 || request.lines() > 1 || (request.reuse.any() && (known.empty() || !known[0].kept))) return;
  const int prefix = static_cast<int>(std::as_const(cache_).match(request.salt, request.prompt).blocks.size()) * pool_.block_tokens();
  KvReuse reuse;
  reuse.find_kept(*cache_.segments(), request.salt, request.prompt, prefix, config_.cache_reuse);
  if (std::ranges::equal(reuse.segments, known, [](const KvSegment& a, const KvSegment& b) { return a.first == b.first && a.tokens == b.tokens; })) return;
  auto changed = std::make_shared<Request>(request);
  changed->reuse = std::move(reuse);
  changed->reuse.seal(changed->salt, changed->prompt);
  segments_.forget(seq.id);
  seq.request = std::move(changed);
}

/// For all others: their remaining tokens.
SegmentWork Scheduler::next_work(const Sequence& seq, int computed, int room) const { return segments_.next(seq, computed, room); }

void Scheduler::note_work(const Sequence& seq, SegmentWork work, Decision& decision) const {
  if (seq.request->reuse.any()) decision.work[seq.id] = std::move(work);
}

void Scheduler::take_segments(Sequence& seq, const SegmentWork& work, StepPlan& plan, Nanos now) {
  if (work.take.empty()) return;
  make_writable(seq, work.computed, plan);
  for (const SegmentWork::Take& take : work.take) segments_.take(seq, take, plan);
  emit(Event::Kind::reused, seq.id, work.computed - seq.computed, now);
  seq.computed = work.computed;
}

void Scheduler::shape(Sequence& seq, const SegmentWork& work, PlanItem& item) {
  segments_.shape(seq, work, item);
  if (item.detour != Detour::encode) return;
  BlockTable& scratch = segments_.scratch(seq.id);
  for (const int hold = (item.slots.back() + pool_.block_tokens()) / pool_.block_tokens(); scratch.size() < hold;)
    scratch.push(fresh_block(scratch.ids()));
}

bool Scheduler::settle_detour(const Sequence& seq, const PlanItem& item, const ItemResult& done, Nanos now) {
  if (item.detour == Detour::none) return false;
  segments_.settle(seq, item, done);
  emit(Event::Kind::prepared, seq.id, item.n_tokens, now);
  return true;
}

}  // namespace sluice
