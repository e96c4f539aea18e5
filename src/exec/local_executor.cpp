#include "exec/local_executor.h"

#include <algorithm>
#include <atomic>

#include "exec/reuse.h"

namespace sluice {

void LocalExecutor::gather(const StepPlan& plan, bool probes) {
  tokens_.clear();
  positions_.clear();
  for (Places* places : {&blocks_, &pages_}) places->slots.clear(), places->segments.clear();
  logit_rows_.clear();
  wanted_.clear();
  const int block_tokens = kv_->layers().empty() ? 1 : kv_->layers()[0].block_tokens;
  for (size_t i = 0; i < plan.items.size(); ++i) {
    const PlanItem& item = plan.items[i];
    if ((item.detour == Detour::probe) != probes) continue;
    const std::span<const BlockId> blocks = kv_->table(plan, i);
    CHECK(!has_pages_ || item.pages.size() == item.blocks.size(), "{} pages of {} blocks", item.pages.size(), item.blocks.size());
    const int first_row = static_cast<int>(tokens_.size());
    for (int k = 0, next_slot = -1; k < item.n_tokens; ++k) {
      const int pos = item.rows.empty() ? item.first_pos + k : item.rows[k];
      const int slot = item.slots.empty() ? pos - item.dropped : item.slots[k];
      const auto place = [&](Places& to, std::span<const BlockId> table) {
        if (slot != next_slot) to.segments.push_back({static_cast<int>(tokens_.size()), 0, slot, table.data()});
        ++to.segments.back().rows;
        to.slots.push_back(static_cast<int64_t>(table[static_cast<size_t>(slot / block_tokens)]) * block_tokens + slot % block_tokens);
      };
      place(blocks_, blocks);
      if (has_pages_) place(pages_, item.pages);
      next_slot = slot + 1;
      tokens_.push_back(item.tokens[pos]);
      positions_.push_back(item.positions.empty() ? pos : item.positions[k]);
    }
    for (int k = 0; k < item.n_scored; ++k) {
      logit_rows_.push_back(first_row + k);
      wanted_.push_back({static_cast<int>(i), item.first_pos + k + 1});
    }
    if (item.samples) {
      logit_rows_.push_back(static_cast<int32_t>(tokens_.size()) - 1);
      wanted_.push_back({static_cast<int>(i), -1});
    }
  }
}

std::vector<std::vector<int64_t>> LocalExecutor::expert_rows() const {
  std::vector<std::vector<int64_t>> out;
  for (const std::span<const int64_t> layer : model_.expert_rows()) {
    std::vector<int64_t>& rows = out.emplace_back();
    for (const int64_t& count : layer) rows.push_back(std::atomic_ref<int64_t>(const_cast<int64_t&>(count)).load(std::memory_order_relaxed));
  }
  return out;
}

void LocalExecutor::finish_tiers() {
  KvTiers::Done done = tiers_.finish();
  result_.load_ns += done.load_ns;
  result_.load_span_ns += done.load_span_ns;
  result_.lost.insert(result_.lost.end(), done.lost.begin(), done.lost.end());
  result_.offload = kv_->traffic();
}

void LocalExecutor::probe(const StepPlan& plan) {
  gather(plan, true);
  if (tokens_.empty()) return;
  ReuseProbe probe(static_cast<int>(kv_->layers().size()));
  model_.forward({tokens_, positions_, blocks_.slots, blocks_.segments, {}, &probe}, kv_->layers(), nullptr);
  auto row = probe.deviation().begin();
  for (size_t i = 0; i < plan.items.size(); ++i) {
    if (plan.items[i].detour != Detour::probe) continue;
    result_.items[i].deviation.assign(row, row + plan.items[i].n_tokens);
    row += plan.items[i].n_tokens;
  }
  times_.rows += tokens_.size();
}

Ticket LocalExecutor::submit(const StepPlan& plan) {
  const Nanos start = clock_.now();
  kv_->prepare(plan);
  tiers_.run(plan.copies, *kv_, ops_.pool());
  result_ = {};
  if (evictor_ != nullptr) evictor_->prepare(plan);
  // What is read out of the order of the layers has to be there first.
  if (std::ranges::any_of(plan.copies, [](const KvCopy& copy) { return copy.shift != 0; }) ||
      std::ranges::any_of(plan.items, [](const PlanItem& item) { return item.detour == Detour::probe; }))
    finish_tiers();
  for (const KvCopy& copy : plan.copies)
    if (copy.shift != 0) rotate_copied_keys(model_, kv_->layers(), copy);
  const Nanos copied = clock_.now();
  for (const PlanItem& item : plan.items) {
    result_.items.push_back({item.seq, item.samples, {}});
    result_.items.back().prompt.resize(static_cast<size_t>(item.n_scored));
  }
  probe(plan);
  gather(plan, false);
  if (plan.items.empty()) {
    finish_tiers();
    times_.copy += clock_.now() - start;
    return ++ticket_;
  }
  const size_t vocab = static_cast<size_t>(model_.info().vocab_size);
  if (logits_.size() < logit_rows_.size() * vocab) logits_.resize(logit_rows_.size() * vocab);
  // One of them at most looks on: KV retention is refused with the others, and windows take loads whole, before the pass.
  LayerPolicy* looks_on = kv_->policy() != nullptr ? kv_->policy() : tiers_.policy();
  if (evictor_ != nullptr && evictor_->observer() != nullptr) looks_on = evictor_->observer();
  if (!tokens_.empty()) model_.forward({tokens_, positions_, blocks_.slots, blocks_.segments, logit_rows_, looks_on, {pages_.slots, pages_.segments}}, kv_->layers(), logits_.data());
  finish_tiers();
  kv_->finish(plan);
  const Nanos computed = clock_.now();

  finite_.assign(wanted_.size(), 0);
  ops_.pool().run(static_cast<int>(wanted_.size()), [&](int i, int worker) {
    const auto [at, prompt_token] = wanted_[i];
    const PlanItem& item = plan.items[at];
    const std::span<float> row(logits_.data() + static_cast<size_t>(i) * vocab, vocab);
    ItemResult& done = result_.items[at];
    finite_[i] = all_finite(row);
    if (!finite_[i]) return;
    if (prompt_token >= 0)
      done.prompt[prompt_token - item.first_pos - 1] =
          score_token(item.request->prompt[prompt_token], row, item.request->prompt_logprobs);
    else
      done.token = samplers_[worker].sample(*item.request, {item.tokens, item.prompt_tokens, item.sample}, row);
  });
  for (size_t i = 0; i < wanted_.size(); ++i) {
    if (finite_[i]) continue;
    ItemResult& done = result_.items[wanted_[i].item];
    done.sampled = false;
    done.error = "the model's logits are not finite: its weights are damaged, or its activations overflow";
  }
  for (size_t i = 0; i < plan.items.size(); ++i)
    if (std::string error = kv_->item_error(plan.items[i]); !error.empty()) result_.items[i].sampled = false, result_.items[i].kv_lost = true, result_.items[i].error = std::move(error);
  const Nanos end = clock_.now();
  times_.copy += copied - start;
  times_.forward += computed - copied;
  times_.sample += end - computed;
  ++times_.steps;
  times_.rows += tokens_.size();
  times_.sampled += wanted_.size();
  return ++ticket_;
}

std::optional<StepResult> LocalExecutor::poll(Ticket ticket) {
  CHECK(ticket == ticket_, "ticket {} is not the one in flight", ticket);
  return std::move(result_);
}

}  // namespace sluice
