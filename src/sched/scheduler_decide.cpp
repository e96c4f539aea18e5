// What the next step is to compute: asks the policies, and changes nothing (docs/contracts/step.md).

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "sched/scheduler.h"

namespace sluice {

/// The decision in the making, with what it has taken so far.
struct Scheduler::Draft {
  Decision decision;
  Budget left;
  int scored_rows_left = 0;
  int pages_left = 0;  // kv/recent_pages.h
  int taken_blocks = 0;
  std::map<SeqId, int> taken_by;
  std::vector<const Sequence*> running;  // less those that are preempted
  std::set<SeqId> preempted;
  std::set<BlockId> given_up;  // cached blocks of the preempted: counted as free until a prefix hit takes them
  bool admissions_closed = false;
};

/// Hands out the sequences in order. Of a long queue a step takes few: those that wait stand in order already, or, if
/// their ranks move, in a heap (n to build, log n for each one taken).
class Scheduler::Order {
 public:
  Order(const Scheduler& scheduler, Nanos now) : sorted_(scheduler.waiting_order_.begin()), sorted_end_(scheduler.waiting_order_.end()) {
    running_ = heap(scheduler, scheduler.running_, now);
    if (scheduler.policies_.queue->rank_moves()) waiting_ = heap(scheduler, scheduler.waiting_, now);
  }

  /// Null at the end.
  const Sequence* next() {
    const Entry* waits = sorted_ != sorted_end_ ? &*sorted_ : waiting_.empty() ? nullptr : &waiting_.front();
    if (running_.empty() && waits == nullptr) return nullptr;
    if (!running_.empty() && (waits == nullptr || running_.front() < *waits)) return pop(running_);
    return sorted_ != sorted_end_ ? (sorted_++)->second : pop(waiting_);
  }

  void skip_waiting() {
    sorted_ = sorted_end_;
    waiting_.clear();
  }

 private:
  using Entry = std::pair<Key, const Sequence*>;

  static std::vector<Entry> heap(const Scheduler& scheduler, const std::vector<const Sequence*>& sequences, Nanos now) {
    std::vector<Entry> entries;
    entries.reserve(sequences.size());
    for (const Sequence* s : sequences) entries.emplace_back(scheduler.key(*s, now), s);
    std::ranges::make_heap(entries, std::ranges::greater{});
    return entries;
  }
  static const Sequence* pop(std::vector<Entry>& heap) {
    std::ranges::pop_heap(heap, std::ranges::greater{});
    const Sequence* seq = heap.back().second;
    heap.pop_back();
    return seq;
  }

  std::vector<Entry> running_, waiting_;
  std::set<Entry>::const_iterator sorted_, sorted_end_;
};

std::vector<const Sequence*> Scheduler::first_waiting(size_t most, Nanos now) const {
  std::vector<std::pair<Key, const Sequence*>> order;
  for (const Sequence* s : waiting_) order.emplace_back(key(*s, now), s);
  const size_t n = std::min(order.size(), most);
  std::ranges::partial_sort(order, order.begin() + static_cast<int64_t>(n));
  std::vector<const Sequence*> first;
  for (size_t i = 0; i < n; ++i) first.push_back(order[i].second);
  return first;
}

SeqId Scheduler::oldest_waiting(Nanos now) const {
  const Sequence* first = nullptr;
  auto key = [&](const Sequence& s) { return std::tuple(policies_.queue->rank(s, now), s.arrival, s.id); };
  for (const Sequence* s : waiting_)
    if (first == nullptr || key(*s) < key(*first)) first = s;
  return first == nullptr ? kNoSeq : first->id;
}

Nanos Scheduler::opens_at(Nanos now) const {
  const View view{now, waiting_, running_, pool_.free() + cache_.evictable(), pool_.total(), pool_.block_tokens()};
  Nanos at = now;
  for (const auto& gate : policies_.gates) at = std::max(at, gate->opens_at(view));
  return at;
}

/// For slots up to `end`, of which those from `computed` on are written.
int Scheduler::blocks_for(const BlockTable& table, int computed, int end) const {
  const int block_tokens = pool_.block_tokens();
  const int covered = (end + block_tokens - 1) / block_tokens;
  int needed = std::max(0, policies_.allocator->blocks_to_hold(end) - table.size());
  for (int i = computed / block_tokens; i < std::min(covered, table.size()); ++i) needed += table[i].count() > 1;
  return needed;
}

int Scheduler::blocks_released(const Sequence& seq) const {
  int released = segments_.scratch_held(seq.id);
  for (const BlockRef& block : seq.table.refs())
    released += block.count() == (pool_.is_cached(block.id()) ? 2 : 1);
  return released;
}

int Scheduler::clip(int asked, const Sequence& seq, const SegmentWork& work, const Draft& draft) const {
  const int threshold = config_.long_prefill_token_threshold;
  const int until_eviction = policies_.retention->next_eviction(seq.prompt_tokens(), work.computed) - work.computed;
  const int until_block = config_.ends_at_blocks ? pool_.block_tokens() - work.computed % pool_.block_tokens() : work.rows;
  const int n = std::min({asked, work.rows, draft.left.tokens, threshold > 0 ? threshold : work.rows, until_eviction, until_block});
  return seq.scored_of(work.computed, 1) > 0 ? std::min(n, draft.scored_rows_left) : n;
}

Decision Scheduler::decide(Nanos now) const {
  Draft draft;
  draft.left = {config_.max_num_batched_tokens, config_.max_num_seqs - running()};
  draft.scored_rows_left = config_.max_scored_rows;
  draft.pages_left = free_page_seats();
  draft.running = running_;
  draft.decision.run.reserve(running_.size() + 16);
  const View before{now, waiting_, running_, pool_.free() + cache_.evictable(), pool_.total(), pool_.block_tokens()};
  for (const Sequence* seq : running_)
    if (std::ranges::any_of(policies_.gates, [&](const auto& gate) { return gate->revokes(*seq, before); })) displace(seq->id, draft);
  Order order(*this, now);
  for (const Sequence* seq = order.next(); seq != nullptr; seq = order.next()) {
    if (draft.preempted.contains(seq->id) || policies_.branching->holds(seq->id)) continue;
    if (seq->state == Sequence::State::running) consider_running(*seq, draft, now);
    else consider_waiting(*seq, draft, now);
    if (draft.admissions_closed) order.skip_waiting();
  }
  // Nobody can run, but blocks are held for siblings that wait for blocks.
  if (draft.decision.run.empty() && draft.decision.preempt.empty() && draft.decision.never.empty())
    if (const SeqId held = youngest_held(); held != kNoSeq) draft.decision.preempt.push_back(held);
  return std::move(draft.decision);
}

SeqId Scheduler::youngest_held() const {
  SeqId youngest = kNoSeq;
  for (const Sequence* s : running_)
    if (policies_.branching->holds(s->id)) youngest = std::max(youngest, s->id);
  return youngest;
}

/// Blocks that the work reads and that a preempted sequence has just given up: they are not free after all.
int Scheduler::reclaimed_by(const SegmentWork& work, const Draft& draft) {
  int n = 0;
  for (const SegmentWork::Take& take : work.take)
    for (const BlockRef& block : take.hit.blocks) n += draft.given_up.contains(block.id());
  return n;
}

void Scheduler::take_back(const SegmentWork& work, Draft& draft) {
  for (const SegmentWork::Take& take : work.take)
    for (const BlockRef& block : take.hit.blocks) draft.given_up.erase(block.id());
}

void Scheduler::consider_running(const Sequence& seq, Draft& draft, Nanos now) const {
  if (draft.left.tokens <= 0) return;
  int reclaimed = 0;
  auto available = [&] { return pool_.free() + cache_.evictable() - draft.taken_blocks - reclaimed; };
  const bool has_segments = !seq.request->reuse.segments.empty();
  SegmentWork work = next_work(seq, seq.computed, has_segments ? available() : 0);
  reclaimed = reclaimed_by(work, draft);
  const int asked = policies_.chunk->tokens_for(seq, work.rows, draft.decision.run, draft.left);
  const int n = clip(asked, seq, work, draft);
  if (n <= 0 && work.rows > 0) return;
  const int dropped = policies_.retention->dropped_at(seq.prompt_tokens(), seq.computed);  // none of a sequence with segments
  const int needed = blocks_for(seq.table, seq.computed - dropped, work.table_end(n) - dropped) + segments_.scratch_needed(seq, work, n);
  while (needed > available()) {
    const SeqId id = policies_.preempt->victim(seq, draft.running, now);
    if (id == kNoSeq || draft.running.size() == 1) return;  // alone, it waits for what others have just given up
    displace(id, draft);
    reclaimed = reclaimed_by(work, draft);
    draft.admissions_closed = true;
    if (id == seq.id) return;
  }
  take_back(work, draft);
  draft.taken_blocks += needed + reclaimed;
  if (needed > 0) draft.taken_by[seq.id] = needed;
  draft.left.tokens -= n;
  draft.scored_rows_left -= seq.scored_of(work.computed, n);
  if (n > 0) draft.decision.run.push_back({&seq, work.computed, n});
  note_work(seq, std::move(work), draft.decision);
}

/// The blocks, the seat and the place in the plan that the victim had are the plan's again.
void Scheduler::displace(SeqId id, Draft& draft) const {
  const Sequence* victim = find(id);
  CHECK(victim != nullptr && std::erase(draft.running, victim) == 1, "sequence {} cannot be preempted: it does not run", id);
  draft.preempted.insert(id);
  draft.decision.preempt.push_back(id);
  draft.decision.work.erase(id);
  ++draft.left.seqs;
  draft.pages_left += most_pages(*victim);
  const auto planned = std::ranges::find(draft.decision.run, victim, &Decided::seq);
  if (planned != draft.decision.run.end()) {
    draft.left.tokens += planned->n_tokens;
    draft.scored_rows_left += victim->scored_of(planned->first_pos, planned->n_tokens);
    draft.decision.run.erase(planned);
  }
  draft.taken_blocks -= draft.taken_by[id] + blocks_released(*victim);
  for (const BlockRef& block : victim->table.refs())
    if (pool_.is_cached(block.id()) && block.count() == 2) draft.given_up.insert(block.id());
}

void Scheduler::consider_waiting(const Sequence& seq, Draft& draft, Nanos now) const {
  if (try_admit(seq, draft, now) == Verdict::not_yet && make_room(seq, draft, now) == Verdict::not_yet) draft.admissions_closed = true;
}

/// Admits it in the place of those that it outranks; not_yet, and nothing changes, when even all of theirs are not enough.
Verdict Scheduler::make_room(const Sequence& seq, Draft& draft, Nanos now) const {
  std::optional<Draft> trial;
  for (;;) {
    std::vector<const Sequence*> outranked;
    for (const Sequence* s : trial ? trial->running : draft.running)
      if (policies_.queue->outranks(seq, *s, now)) outranked.push_back(s);
    const SeqId id = outranked.empty() ? kNoSeq : policies_.preempt->victim(seq, outranked, now);
    if (id == kNoSeq) return Verdict::not_yet;
    CHECK(std::ranges::find(outranked, id, &Sequence::id) != outranked.end(), "sequence {} is not outranked by {}", id, seq.id);
    if (!trial) trial = draft;
    displace(id, *trial);
    const Verdict verdict = try_admit(seq, *trial, now);
    if (verdict == Verdict::not_yet) continue;
    if (verdict == Verdict::yes) draft = std::move(*trial);
    if (verdict == Verdict::never) draft.decision.never.push_back(seq.id);
    return verdict;
  }
}

/// Takes the sequence into the plan if the gates let it in and there is room; else the plan stays as it is.
Verdict Scheduler::try_admit(const Sequence& seq, Draft& draft, Nanos now) const {
  const int pages = most_pages(seq);
  if (draft.left.seqs <= 0 || draft.left.tokens <= 0 || pages > draft.pages_left) return Verdict::not_yet;
  const int length = static_cast<int>(seq.tokens.size());
  PrefixHit hit;  // none where every position of the prompt has to be computed
  if (!seq.scores_prompt()) hit = cache_.match(seq.request->salt, seq.exact_tokens());
  int reclaimed = 0;  // blocks of the hit that a preempted sequence has just given up: they are not free after all
  auto available = [&] { return pool_.free() + cache_.evictable() - draft.taken_blocks - reclaimed; };
  for (const BlockRef& block : hit.blocks) reclaimed += draft.given_up.contains(block.id());
  // The last token is always computed: its logits are what the sequence came for. When the hit covers it too, its block
  // is copied on write; without a block to copy to, or where it is sealed, that block is computed anew in place of the
  // cached one.
  if (hit.blocks.size() * pool_.block_tokens() == seq.tokens.size() && (available() <= 0 || config_.seals_blocks)) {
    reclaimed -= draft.given_up.contains(hit.blocks.back().id());
    hit.blocks.pop_back();
  }
  const size_t found = hit.blocks.size();
  std::vector<BlockId> wanted = trim_to_pages(hit, std::min(static_cast<int>(found) * pool_.block_tokens(), length - 1));
  if (hit.blocks.size() < found) {
    reclaimed = 0;
    for (const BlockRef& block : hit.blocks) reclaimed += draft.given_up.contains(block.id());
  }
  const int hit_tokens = static_cast<int>(hit.blocks.size()) * pool_.block_tokens();
  TierHit restore = restorable(seq, hit);
  const int computed =
      std::min(hit_tokens, length - 1) + static_cast<int>(restore.blocks.size()) * pool_.block_tokens();
  SegmentWork work = next_work(seq, computed, available());
  reclaimed += reclaimed_by(work, draft);
  auto hold = [&](int end) { return policies_.allocator->blocks_to_hold(policies_.retention->slots_to_hold(seq.prompt_tokens(), end)); };
  auto blocks_up_to = [&](int end) {
    return hold(end) - static_cast<int>(hit.blocks.size()) + (length - 1 < hit_tokens ? 1 : 0);
  };
  const View view{now, waiting_, draft.running, available(), pool_.total(), pool_.block_tokens()};
  const int beside = segments_.whole_scratch(seq, work);
  const Candidate candidate{seq, computed, blocks_up_to(length) + beside, hit.blocks, hold(length)};
  for (const auto& gate : policies_.gates) {
    const Verdict verdict = gate->admit(candidate, view, draft.decision.run);
    switch (verdict) {
      case Verdict::yes: continue;
      case Verdict::never: draft.decision.never.push_back(seq.id); return Verdict::never;
      case Verdict::not_yet:
      case Verdict::pass_over: return verdict;
    }
  }
  const int asked = policies_.chunk->tokens_for(seq, work.rows, draft.decision.run, draft.left);
  const int n = clip(asked, seq, work, draft);
  if (n <= 0 && work.rows > 0) return Verdict::not_yet;
  const int needed = std::max(0, blocks_up_to(work.table_end(n))) + segments_.scratch_needed(seq, work, n);
  if (needed > view.available_blocks) return Verdict::not_yet;
  for (const BlockRef& block : hit.blocks) draft.given_up.erase(block.id());
  take_back(work, draft);
  draft.taken_blocks += needed + reclaimed;
  if (needed > 0) draft.taken_by[seq.id] = needed;
  draft.left.tokens -= n;
  draft.left.seqs -= 1;
  draft.pages_left -= pages;
  draft.scored_rows_left -= seq.scored_of(work.computed, n);
  std::vector<BlockRef> read = pages_read(hit.blocks, computed);
  draft.decision.admit.push_back({seq.id, std::move(hit), std::move(read), std::move(wanted), std::move(restore), computed});
  if (n > 0) draft.decision.run.push_back({&seq, work.computed, n});
  note_work(seq, std::move(work), draft.decision);
  return Verdict::yes;
}

}  // namespace sluice
