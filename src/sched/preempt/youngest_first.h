#pragma once
// Preemption by recompute: the sequence that is last in queue order (under FCFS the youngest) gives up all its blocks and
// returns to the queue with its tokens, to be computed again as one prefill. Lossless.
// Source: PagedAttention (Kwon et al., SOSP 2023), section 4.5.

#include <tuple>

#include "sched/policies.h"

namespace sluice {

class YoungestFirst final : public PreemptPolicy {
 public:
  explicit YoungestFirst(const QueuePolicy& queue) : queue_(queue) {}

  SeqId victim(const Sequence&, std::span<const Sequence* const> running, Nanos now) const override {
    const Sequence* last = nullptr;
    auto order = [&](const Sequence& s) { return std::tuple(queue_.rank(s, now), s.arrival, s.id); };
    for (const Sequence* s : running)
      if (last == nullptr || order(*s) > order(*last)) last = s;
    return last == nullptr ? kNoSeq : last->id;
  }

 private:
  const QueuePolicy& queue_;
};

}  // namespace sluice
