#include "exec/local_executor.h"

namespace sluice {

void LocalExecutor::gather(const StepPlan& plan) {
  tokens_.clear();
  positions_.clear();
  slots_.clear();
  segments_.clear();
  logit_rows_.clear();
  sampling_items_.clear();
  const int block_tokens = kv_.layers().empty() ? 1 : kv_.layers()[0].block_tokens;
  for (size_t i = 0; i < plan.items.size(); ++i) {
    const PlanItem& item = plan.items[i];
    segments_.push_back({static_cast<int>(tokens_.size()), item.n_tokens, item.first_pos, item.blocks.data()});
    for (int pos = item.first_pos; pos < item.first_pos + item.n_tokens; ++pos) {
      tokens_.push_back(item.tokens[pos]);
      positions_.push_back(pos);
      slots_.push_back(static_cast<int64_t>(item.blocks[pos / block_tokens]) * block_tokens + pos % block_tokens);
    }
    if (item.samples) {
      logit_rows_.push_back(static_cast<int32_t>(tokens_.size()) - 1);
      sampling_items_.push_back(static_cast<int>(i));
    }
  }
}

Ticket LocalExecutor::submit(const StepPlan& plan) {
  const Nanos start = clock_.now();
  for (const KvCopy& copy : plan.copies) kv_.copy(copy);
  const Nanos copied = clock_.now();
  gather(plan);
  const size_t vocab = static_cast<size_t>(model_.info().vocab_size);
  if (logits_.size() < logit_rows_.size() * vocab) logits_.resize(logit_rows_.size() * vocab);
  model_.forward({tokens_, positions_, slots_, segments_, logit_rows_}, kv_.layers(), logits_.data());
  const Nanos computed = clock_.now();

  result_.items.clear();
  for (const PlanItem& item : plan.items) result_.items.push_back({item.seq, item.samples, {}});
  ops_.pool().run(static_cast<int>(sampling_items_.size()), [&](int i, int worker) {
    const PlanItem& item = plan.items[sampling_items_[i]];
    const std::span<float> row(logits_.data() + static_cast<size_t>(i) * vocab, vocab);
    ItemResult& done = result_.items[sampling_items_[i]];
    if (!all_finite(row)) {
      done.sampled = false;
      done.error = "the model's logits are not finite: its weights are damaged, or its activations overflow";
      return;
    }
    done.token = samplers_[worker].sample(*item.request, {item.tokens, item.prompt_tokens, item.sample}, row);
  });
  const Nanos end = clock_.now();
  times_.copy += copied - start;
  times_.forward += computed - copied;
  times_.sample += end - computed;
  ++times_.steps;
  times_.rows += tokens_.size();
  times_.sampled += sampling_items_.size();
  return ++ticket_;
}

std::optional<StepResult> LocalExecutor::poll(Ticket ticket) {
  CHECK(ticket == ticket_, "ticket {} is not the one in flight", ticket);
  return std::move(result_);
}

}  // namespace sluice
