#include "sim/sim_executor.h"

#include "base/rng.h"

namespace sluice {

TokenId SimExecutor::token_at(const Request& request, int sample, size_t position) {
  return static_cast<TokenId>(philox({request.sampling.seed, static_cast<uint32_t>(sample)}, position, 1)[0] & 0x3fffffff);
}

Ticket SimExecutor::submit(const StepPlan& plan) {
  result_ = {};
  for (const KvCopy& copy : plan.copies)
    if (copy.from != Tier::pool && copy.to == Tier::pool)
      result_.load_ns += static_cast<Nanos>(copy.from == Tier::host ? tiers_.host_block_ns : tiers_.disk_block_ns);
  for (const PlanItem& item : plan.items) {
    ItemResult done{item.seq, item.samples, {}};
    if (item.samples) done.token.token = token_at(*item.request, item.sample, item.tokens.size());
    done.prompt.resize(static_cast<size_t>(item.n_scored));
    if (item.detour == Detour::probe) done.deviation.resize(static_cast<size_t>(item.n_tokens));
    result_.items.push_back(std::move(done));
  }
  const double computing = plan.items.empty() ? 0 : cost_.step_ns(step_features(plan));
  done_at_ = clock_.now() + result_.load_ns + static_cast<Nanos>(computing);
  return ++ticket_;
}

std::optional<StepResult> SimExecutor::poll(Ticket ticket) {
  CHECK(ticket == ticket_);
  clock_.advance_to(done_at_);
  return std::move(result_);
}

Ticket RecordingExecutor::submit(const StepPlan& plan) {
  features_ = step_features(plan);
  started_ = clock_.now();
  return inner_.submit(plan);
}

std::optional<StepResult> RecordingExecutor::poll(Ticket ticket) {
  auto result = inner_.poll(ticket);
  if (result) steps_.push_back({features_, static_cast<double>(clock_.now() - started_)});
  return result;
}

}  // namespace sluice
