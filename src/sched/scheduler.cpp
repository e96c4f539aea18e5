#include "sched/scheduler.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>
#include <tuple>

#include "kv/retention/none.h"

namespace sluice {

const char* finish_reason_name(FinishReason reason) {
  switch (reason) {
    case FinishReason::none: return "none";
    case FinishReason::stop: return "stop";
    case FinishReason::length: return "length";
    case FinishReason::cancelled: return "cancelled";
    case FinishReason::error: return "error";
  }
  return "unknown";
}

/// The decision in the making, with what it has taken so far.
struct Scheduler::Draft {
  Decision decision;
  Budget left;
  int scored_rows_left = 0;
  int taken_blocks = 0;
  std::map<SeqId, int> taken_by;
  std::vector<const Sequence*> running;  // less those that are preempted
  std::set<SeqId> preempted;
  std::set<BlockId> given_up;  // cached blocks of the preempted: counted as free until a prefix hit takes them
  bool admissions_closed = false;
};

Scheduler::Scheduler(SchedulerConfig config, BlockPool& pool, PrefixCache& cache, SchedulerPolicies policies,
                     TierConfig tiers)
    : config_(config),
      pool_(pool),
      cache_(cache),
      policies_(std::move(policies)),
      tiers_(tiers, std::move(policies_.tier)),
      segments_(cache.segments(), pool) {
  CHECK(!tiers.any() || (policies_.restore && tiers.block_tokens == pool_.block_tokens()));
  CHECK(policies_.queue && policies_.chunk && policies_.preempt && policies_.branching && policies_.allocator &&
        !policies_.gates.empty());
  CHECK(config_.max_num_seqs >= 1 && config_.max_num_batched_tokens >= 1);
  if (policies_.retention == nullptr) policies_.retention = std::make_shared<KeepAll>(RetentionOptions{});
  const int64_t pool_tokens = int64_t{pool_.total()} * pool_.block_tokens();
  const int most_slots = policies_.retention->slots_to_hold(config_.max_model_len, config_.max_model_len);
  CHECK(most_slots <= pool_tokens, "a context of {} tokens in a pool of {}", config_.max_model_len, pool_tokens);
  CHECK(!policies_.retention->evicts() || !tiers.any(), "what retention has left of a sequence is nobody else's");
  if (policies_.retention->positions_in_cache()) {
    slot_positions_.resize(static_cast<size_t>(most_slots));
    std::iota(slot_positions_.begin(), slot_positions_.end(), 0);
  }
  policy_observers_ = {policies_.queue.get(), policies_.preempt.get()};
  if (policies_.lengths) policy_observers_.push_back(policies_.lengths.get());
  for (auto& gate : policies_.gates) policy_observers_.push_back(gate.get());
  observers_.assign(policy_observers_.begin(), policy_observers_.end());
  observers_.insert(observers_.end(), {policies_.branching.get(), &cache_});
}

Scheduler::~Scheduler() = default;

void Scheduler::emit(Event::Kind kind, SeqId seq, int tokens, Nanos now, SeqId other) {
  const Event event{kind, seq, tokens, now, other};
  for (Observer* observer : observers_) observer->on(event);
}

void Scheduler::announce(const Sequence& seq) {
  for (SequenceObserver* observer : policy_observers_) observer->on_new(seq);
}

SeqId Scheduler::add(std::shared_ptr<const Request> request, Nanos now) {
  auto seq = std::make_unique<Sequence>();
  seq->id = next_id_++;
  seq->tokens = request->prompt;
  seq->arrival = request->arrival;
  seq->request = std::move(request);
  CHECK(!seq->tokens.empty() && static_cast<int>(seq->tokens.size()) < config_.max_model_len + 1);
  const SeqId id = seq->id;
  announce(*seq);
  enqueue(*seq, now);
  const int prompt_tokens = seq->prompt_tokens();
  const Nanos arrival = seq->arrival;
  sequences_.emplace(id, std::move(seq));
  emit(Event::Kind::arrived, id, prompt_tokens, arrival);
  return id;
}

bool Scheduler::drop(SeqId id, Nanos now) {
  const auto it = sequences_.find(id);
  if (it == sequences_.end()) return false;
  const int output_tokens = it->second->output_tokens();
  release(*it->second, now);
  segments_.forget(id);
  tiers_.forget(id);
  it->second->state = Sequence::State::finished;
  sequences_.erase(it);
  emit(Event::Kind::finished, id, output_tokens, now);
  return true;
}

const Sequence* Scheduler::find(SeqId id) const {
  const auto it = sequences_.find(id);
  return it == sequences_.end() ? nullptr : it->second.get();
}

// --- decide ------------------------------------------------------------------------------------------------------

Scheduler::Key Scheduler::key(const Sequence& seq, Nanos now) const {
  return {policies_.chunk->band(seq), policies_.queue->rank(seq, now), seq.arrival, seq.id};
}

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
  SegmentWork work = next_work(seq, seq.computed, available());
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
  if (draft.left.seqs <= 0 || draft.left.tokens <= 0) return Verdict::not_yet;
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
  draft.scored_rows_left -= seq.scored_of(work.computed, n);
  draft.decision.admit.push_back({seq.id, std::move(hit), std::move(restore), computed});
  if (n > 0) draft.decision.run.push_back({&seq, work.computed, n});
  note_work(seq, std::move(work), draft.decision);
  return Verdict::yes;
}

// --- commit ------------------------------------------------------------------------------------------------------

void Scheduler::enqueue(Sequence& seq, Nanos now) {
  seq.state = Sequence::State::waiting;
  waiting_.push_back(&seq);
  if (!policies_.queue->rank_moves()) waiting_order_.emplace(key(seq, now), &seq);
}

void Scheduler::dequeue(Sequence& seq, Nanos now) {
  waiting_order_.erase({key(seq, now), &seq});
  std::erase(waiting_, &seq);
}

/// Out of its list, and without blocks.
void Scheduler::release(Sequence& seq, Nanos now) {
  if (seq.state == Sequence::State::running) std::erase(running_, &seq);
  else dequeue(seq, now);
  if (policies_.retention->evicts() && !seq.table.empty()) ended_.push_back(seq.id);
  seq.table.clear();
  segments_.restart(seq.id);
  seq.computed = 0;
}

void Scheduler::preempt(Sequence& seq, Nanos now) {
  const int given_up = seq.computed;
  release(seq, now);
  enqueue(seq, now);
  emit(Event::Kind::preempted, seq.id, given_up, now);
}

BlockRef Scheduler::fresh_block(const BlockTable& table) {
  if (pool_.free() == 0) cache_.evict(1);
  auto block = policies_.allocator->next(pool_, table);
  CHECK(block.has_value(), "the plan took more blocks than there are");
  return std::move(*block);
}

/// The slots that positions [computed, end) take.
void Scheduler::make_writable(Sequence& seq, int end, StepPlan& plan) {
  const int block_tokens = pool_.block_tokens();
  const int first = seq.computed - seq.table.dropped();
  end -= seq.table.dropped();
  for (int i = first / block_tokens; i < seq.table.size() && i * block_tokens < end; ++i) {
    if (seq.table[i].count() == 1) continue;
    BlockRef copy = fresh_block(seq.table);
    plan.copies.push_back({seq.table[i].id(), copy.id(), first - i * block_tokens});
    seq.table.replace(i, std::move(copy));
  }
  const int hold = policies_.allocator->blocks_to_hold(end);
  while (seq.table.size() < hold) seq.table.push(fresh_block(seq.table));
}

/// Takes blocks of steps to come, of those that nobody needs now; of a cache that fills the pool the one to go next anyway.
void Scheduler::look_ahead(Sequence& seq, int end) {
  const int ahead = policies_.allocator->look_ahead_tokens();
  const int hold = policies_.allocator->blocks_to_hold(std::min(end + ahead, config_.max_model_len));
  while (ahead > 0 && seq.table.size() < hold) {
    if (pool_.free() == 0 && cache_.evict(1) == 0) return;
    auto block = policies_.allocator->next(pool_, seq.table);
    if (!block) return;
    seq.table.push(std::move(*block));
  }
}

StepPlan Scheduler::commit(Decision decision, Nanos now) {
  StepPlan plan;
  committed_at_ = now;
  loads_.clear();
  plan.copies = tiers_.take_copies();  // first, while the blocks hold what is to be saved
  plan.items.reserve(decision.run.size());
  for (const SeqId id : decision.preempt) preempt(at(id), now);
  for (Decision::Admission& admission : decision.admit) {
    Sequence& seq = at(admission.seq);
    dequeue(seq, now);
    cache_.commit(seq.request->salt, admission.hit, seq.tokens);
    for (BlockRef& block : admission.hit.blocks) seq.table.push(std::move(block));
    restore(seq, admission.restore, plan);
    seq.computed = admission.computed;
    seq.cached = admission.computed;
    seq.state = Sequence::State::running;
    running_.push_back(&seq);
    emit(Event::Kind::admitted, seq.id, seq.cached, now);
  }
  for (const auto& [id, work] : decision.work) take_segments(at(id), work, plan, now);
  for (const Decided& decided : decision.run) {
    Sequence& seq = at(decided.seq->id);
    const auto work = decision.work.find(seq.id);
    const bool detours = work != decision.work.end() && work->second.detour != Detour::none;
    const int end = detours ? seq.computed : decided.first_pos + decided.n_tokens;
    CHECK(seq.state == Sequence::State::running && seq.computed == decided.first_pos && decided.n_tokens > 0);
    evict_kv(seq, plan);
    make_writable(seq, end, plan);
    PlanItem item;
    item.seq = seq.id;
    item.first_pos = decided.first_pos;
    item.n_tokens = decided.n_tokens;
    item.dropped = seq.table.dropped();
    if (!slot_positions_.empty())
      item.positions = std::span<const int32_t>(slot_positions_).subspan(static_cast<size_t>(item.first_pos - item.dropped), static_cast<size_t>(item.n_tokens));
    item.samples = end == static_cast<int>(seq.tokens.size());
    item.n_scored = detours ? 0 : seq.scored_of(decided.first_pos, decided.n_tokens);
    item.tokens = std::span<const TokenId>(seq.tokens).first(end);
    item.prompt_tokens = seq.prompt_tokens();
    item.sample = seq.sample;
    item.request = seq.request.get();
    if (work != decision.work.end()) shape(seq, work->second, item);
    plan.items.push_back(item);
  }
  for (PlanItem& item : plan.items) {  // after what this step needs
    Sequence& seq = at(item.seq);
    look_ahead(seq, item.first_pos + item.n_tokens - item.dropped);
    item.blocks = item.detour == Detour::encode ? segments_.scratch(seq.id).ids() : seq.table.ids();
  }
  fetch_for_waiting(plan, now);
  if (!plan.empty()) {  // an empty one is not submitted
    plan.ended.swap(ended_);
    plan.freed = pool_.take_freed();
  }
  return plan;
}

// --- settle ------------------------------------------------------------------------------------------------------

namespace {

FinishReason finish_of(const Sequence& seq, TokenId token, int max_model_len) {
  const Request& request = *seq.request;
  auto listed = [&](const std::vector<TokenId>& ids) { return std::ranges::find(ids, token) != ids.end(); };
  if (seq.output_tokens() > request.sampling.min_tokens &&
      ((!request.ignore_eos && listed(request.eos_token_ids)) || listed(request.stop_token_ids)))
    return FinishReason::stop;
  if (seq.output_tokens() >= request.max_tokens || static_cast<int>(seq.tokens.size()) >= max_model_len)
    return FinishReason::length;
  return FinishReason::none;
}

}  // namespace

/// From where a child can go on that is to have `computed` positions of its parent: what the parent has open can be copied.
int Scheduler::restart(int computed, const Sequence& parent) const {
  const int block = computed / pool_.block_tokens();
  const bool sealed = config_.seals_blocks && block < parent.computed / pool_.block_tokens();
  return sealed ? block * pool_.block_tokens() : computed;
}

void Scheduler::fork(const Fork& fork, Outcome& outcome, Nanos now) {
  const Sequence& parent = at(fork.parent);
  auto child = std::make_unique<Sequence>();
  child->id = next_id_++;
  child->request = parent.request;
  child->sample = fork.sample;
  child->arrival = parent.arrival;
  child->cached = parent.cached;
  child->tokens.assign(parent.tokens.begin(), parent.tokens.begin() + fork.tokens);
  if (fork.append) child->tokens.push_back(*fork.append);
  const int tokens = static_cast<int>(child->tokens.size());
  if (running() < config_.max_num_seqs && shares()) child->state = Sequence::State::running;
  announce(*child);
  if (child->state == Sequence::State::running) {
    // The last kept token is computed again by the child, for logits of its own.
    child->computed = restart(std::min(parent.computed, tokens - 1), parent);
    const int blocks = (child->computed + pool_.block_tokens() - 1) / pool_.block_tokens();
    for (int i = 0; i < blocks; ++i) child->table.push(parent.table[i]);
    running_.push_back(child.get());
  } else {
    enqueue(*child, now);
  }
  outcome.forks.push_back(child->id);
  emit(Event::Kind::forked, parent.id, tokens, now, child->id);
  sequences_.emplace(child->id, std::move(child));
}

Outcome Scheduler::regroup(Regroup change, Nanos now) {
  Outcome outcome;
  outcome.seq = !change.drop.empty() ? change.drop[0] : change.replace.at(0).seq;
  for (const SeqId id : change.drop) drop(id, now);
  for (const Fork& f : change.fork) fork(f, outcome, now);
  for (const Regroup::Replace& r : change.replace) {
    Sequence& seq = at(r.seq);
    CHECK(seq.computed < static_cast<int>(seq.tokens.size()));
    seq.tokens.back() = r.token;
  }
  outcome.dropped = std::move(change.drop);
  outcome.done = change.done;
  outcome.found = std::move(change.found);
  return outcome;
}

std::vector<Outcome> Scheduler::settle(const StepPlan& plan, const StepResult& result, Nanos now) {
  CHECK(result.items.size() == plan.items.size(), "{} results for {} items", result.items.size(), plan.items.size());
  std::vector<Outcome> outcomes;
  settle_tiers(plan, result, now);
  std::set<SeqId> restored;
  for (const Load& load : loads_) restored.insert(load.seq);
  bool kv_lost = false;
  outcomes.reserve(plan.items.size());
  for (size_t i = 0; i < plan.items.size(); ++i) {
    const PlanItem& item = plan.items[i];
    const ItemResult& done = result.items[i];
    Sequence& seq = at(item.seq);
    const bool failed = !done.error.empty();
    kv_lost |= done.kv_lost;
    if (seq.computed < item.first_pos) {  // a block was lost that it was to start from
      segments_.restart(seq.id);
      continue;
    }
    CHECK(done.seq == item.seq && done.sampled == (item.samples && !failed) && seq.computed == item.first_pos);
    CHECK(failed || static_cast<int>(done.prompt.size()) == item.n_scored, "{} prompt tokens scored of {}",
          done.prompt.size(), item.n_scored);
    if (!failed && settle_detour(seq, item, done, now)) {
      outcomes.push_back({.seq = item.seq, .reused = segments_.take_reused(item.seq)});
      continue;
    }
    // What was restored is published with what the step has made full.
    const auto full_blocks = [&] { return static_cast<int>(std::min(static_cast<size_t>(seq.computed), seq.exact_tokens().size())) / pool_.block_tokens(); };
    const int full_before = restored.contains(seq.id) ? 0 : full_blocks();
    seq.computed += item.n_tokens;
    emit(Event::Kind::ran, seq.id, item.n_tokens, now);
    if (failed) {
      drop(item.seq, now);
      outcomes.push_back({item.seq, false, {}, FinishReason::error, {}, done.error});
      continue;
    }
    const int full = full_blocks();
    if (full > full_before && !policies_.retention->evicts()) {
      cache_.insert(seq.request->salt, seq.tokens, full, seq.table);
      tiers_.save(seq.id, seq.request->salt, seq.tokens, full_before, full, seq.table);
    }

    Outcome outcome{seq.id, done.sampled, done.token, FinishReason::none, {}};
    outcome.prompt = done.prompt;
    outcome.first_scored = item.first_pos + 1;
    outcome.reused = segments_.take_reused(seq.id);
    if (done.sampled) {
      seq.tokens.push_back(done.token.token);
      emit(Event::Kind::sampled, seq.id, 1, now);
      for (const Fork& f : policies_.branching->after(seq, done.token)) fork(f, outcome, now);
      if (!policies_.branching->holds(seq.id)) outcome.finish = finish_of(seq, done.token.token, config_.max_model_len);
    }
    if (outcome.finish != FinishReason::none) {
      segments_.keep_history(seq);
      drop(seq.id, now);
    }
    outcomes.push_back(std::move(outcome));
  }
  // Which of the cached blocks is lost is not known here: all that nobody holds are computed again.
  if (kv_lost) cache_.evict(pool_.total());
  for (Regroup& change : policies_.branching->regroup()) outcomes.push_back(regroup(std::move(change), now));
  return outcomes;
}

// --- books -------------------------------------------------------------------------------------------------------

bool Scheduler::consistent(std::string* why) const {
  auto fail = [&](std::string text) {
    if (why != nullptr) *why = std::move(text);
    return false;
  };
  std::map<BlockId, int> held;
  for (const auto& [id, seq] : sequences_) {
    const bool waits = seq->state == Sequence::State::waiting;
    if (seq->finished()) return fail(fmt::format("sequence {} has finished but is still listed", id));
    if (std::ranges::count(waits ? waiting_ : running_, seq.get()) != 1)
      return fail(fmt::format("sequence {} is not exactly once in its list", id));
    if (waits && (!seq->table.empty() || seq->computed != 0))
      return fail(fmt::format("sequence {} waits but holds blocks", id));
    if (seq->computed >= static_cast<int>(seq->tokens.size()))
      return fail(fmt::format("sequence {}: computed {} of {} tokens", id, seq->computed, seq->tokens.size()));
    if (const int slots = seq->computed - seq->table.dropped(); slots < 0 || slots > seq->table.size() * pool_.block_tokens())
      return fail(fmt::format("sequence {}: computed {}, {} of them in its {} blocks", id, seq->computed, slots, seq->table.size()));
    // What has to go before the next position goes with the step that computes it.
    if (const int due = policies_.retention->dropped_at(seq->prompt_tokens(), std::max(0, seq->computed - 1)); seq->table.dropped() != due && seq->computed > 0)
      return fail(fmt::format("sequence {}: computed {}, and let go of {} of them instead of {}", id, seq->computed, seq->table.dropped(), due));
    for (const BlockRef& block : seq->table.refs()) ++held[block.id()];
  }
  segments_.each_scratch([&](SeqId, const BlockRef& block) { ++held[block.id()]; });
  if (waiting_.size() + running_.size() != sequences_.size()) return fail("a list holds an unknown sequence");
  if (!policies_.queue->rank_moves() && waiting_order_.size() != waiting_.size()) return fail("the queue's order has lost a sequence");
  for (const auto& [key_then, seq] : waiting_order_)
    if (seq->state != Sequence::State::waiting || key_then != key(*seq, 0)) return fail(fmt::format("sequence {} stands in the wrong place of the queue", seq->id));
  int in_use = 0;
  for (int b = 0; b < pool_.total(); ++b) {
    const BlockId id = static_cast<BlockId>(b);
    const int expected = (held.contains(id) ? held[id] : 0) + (pool_.is_cached(id) ? 1 : 0);
    if (pool_.count(id) != expected)
      return fail(fmt::format("block {} has {} references, {} holders", id, pool_.count(id), expected));
    in_use += expected > 0;
  }
  if (in_use + pool_.free() != pool_.total()) return fail("free and used blocks do not add up");
  if (!pool_.consistent()) return fail("the pool's books are wrong");
  if (!cache_.consistent()) return fail("the prefix cache's books are wrong");
  if (!tiers_.consistent()) return fail("the tiers' books are wrong");
  return true;
}

}  // namespace sluice
