// What a step has brought: the mutator after it (docs/contracts/step.md).

#include <algorithm>
#include <set>

#include "sched/scheduler.h"

namespace sluice {
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

/// From where a child can go on that is to have `computed` positions of its parent: what the parent has open can be copied. Where blocks
/// are sealed, or hold a recurrent state, all of it or nothing: a state is not what it was some tokens ago.
int Scheduler::restart(int computed, const Sequence& parent) const {
  const bool back = config_.seals_blocks && computed < parent.computed;
  return back ? computed / pool_.block_tokens() * pool_.block_tokens() : computed;
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
  if (running() < config_.max_num_seqs && free_page_seats() >= most_pages(*child) && shares()) child->state = Sequence::State::running;
  announce(*child);
  if (child->state == Sequence::State::running) {
    // The last kept token is computed again by the child, for logits of its own.
    child->computed = resumable(parent.table, restart(std::min(parent.computed, tokens - 1), parent));
    const int blocks = (child->computed + pool_.block_tokens() - 1) / pool_.block_tokens();
    for (int i = 0; i < blocks; ++i) child->table.push(parent.table[i]);
    set_pages(child->table, child->computed, pages_read(child->table.refs(), child->computed));
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
    settle_pages(seq, full_before, full);

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

}  // namespace sluice
