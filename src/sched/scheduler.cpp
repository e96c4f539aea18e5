#include "sched/scheduler.h"

#include <algorithm>
#include <numeric>

#include "kv/recent_pages.h"
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
  if (pool_.recent() != nullptr) {
    CHECK(!tiers.any() && !policies_.retention->evicts() && cache_.segments() == nullptr, "who moves whole blocks needs all of their KV");
    CHECK(free_page_seats() >= pool_.recent()->kv().most_of(config_.max_model_len, pool_.block_tokens()), "{} pages are too few for one sequence and a step of {} tokens", pool_.recent()->pages().total(), config_.max_num_batched_tokens);
  }
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

Scheduler::Key Scheduler::key(const Sequence& seq, Nanos now) const {
  return {policies_.chunk->band(seq), policies_.queue->rank(seq, now), seq.arrival, seq.id};
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

BlockRef Scheduler::fresh_block(std::span<const BlockId> before) {
  for (int most = 2 * pool_.cluster() - 1; most > 0 && !policies_.allocator->finds(pool_, before) && cache_.evictable() > 0; --most)
    if (cache_.evict(1) == 0) break;
  auto block = policies_.allocator->next(pool_, before);
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
    BlockRef copy = fresh_block(seq.table.ids().first(static_cast<size_t>(i)));
    KvCopy rows{seq.table[i].id(), copy.id(), first - i * block_tokens};
    rows.src_page = seq.table.page_ids()[static_cast<size_t>(i)];
    seq.table.replace(i, std::move(copy));
    take_page(seq.table, i);
    rows.dst_page = seq.table.page_ids()[static_cast<size_t>(i)];
    plan.copies.push_back(std::move(rows));
  }
  const int hold = policies_.allocator->blocks_to_hold(end);
  while (seq.table.size() < hold) push_fresh(seq.table);
}

/// Takes blocks of steps to come, of those that nobody needs now; of a cache that fills the pool the one to go next anyway.
void Scheduler::look_ahead(Sequence& seq, int end) {
  const int ahead = policies_.allocator->look_ahead_tokens();
  const int hold = policies_.allocator->blocks_to_hold(std::min(end + ahead, config_.max_model_len));
  while (ahead > 0 && seq.table.size() < hold) {
    if (pool_.free() == 0 && cache_.evict(1) == 0) return;
    auto block = policies_.allocator->next(pool_, seq.table.ids());
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
    want_pages(admission);
    for (BlockRef& block : admission.hit.blocks) seq.table.push(std::move(block));
    set_pages(seq.table, admission.computed, std::move(admission.pages));
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
    item.pages = seq.table.page_ids();
  }
  fetch_for_waiting(plan, now);
  if (!plan.empty()) {  // an empty one is not submitted
    plan.ended.swap(ended_);
    plan.freed = pool_.take_freed();
  }
  return plan;
}

}  // namespace sluice
