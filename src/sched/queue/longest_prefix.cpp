#include "sched/queue/longest_prefix.h"

#include <limits>

namespace sluice {
namespace {
constexpr double kRuns = -std::numeric_limits<double>::infinity();
constexpr double kAged = std::numeric_limits<double>::lowest();
}  // namespace

double LongestPrefix::rank(const Sequence& seq, Nanos now) const {
  if (seq.state == Sequence::State::running) return kRuns;
  if (now - seq.arrival >= aging_) return kAged;
  if (seq.scores_prompt() || !first_.contains({seq.arrival, seq.id})) return 0;
  return -static_cast<double>(cache_.match(seq.request->salt, seq.tokens).blocks.size());
}

void LongestPrefix::join(const Arrived& arrived) {
  first_.insert(arrived);
  if (first_.size() <= look_ahead_) return;
  behind_.insert(first_.extract(std::prev(first_.end())));
}

void LongestPrefix::leave(const Arrived& arrived) {
  if (behind_.erase(arrived) > 0 || first_.erase(arrived) == 0 || behind_.empty()) return;
  first_.insert(behind_.extract(behind_.begin()));
}

void LongestPrefix::on_new(const Sequence& seq) {
  arrivals_[seq.id] = seq.arrival;
  if (seq.state == Sequence::State::waiting) join({seq.arrival, seq.id});  // a fork may run at once
}

void LongestPrefix::on(const Event& event) {
  const auto it = arrivals_.find(event.seq);
  if (it == arrivals_.end()) return;
  const Arrived arrived{it->second, event.seq};
  if (event.kind == Event::Kind::preempted) join(arrived);
  if (event.kind == Event::Kind::admitted || event.kind == Event::Kind::finished) leave(arrived);
  if (event.kind == Event::Kind::finished) arrivals_.erase(it);
}

}  // namespace sluice
