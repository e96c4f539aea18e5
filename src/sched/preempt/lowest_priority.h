#pragma once
// Preemption by recompute of the lowest class first: the sequence with the highest `priority` number gives up its blocks,
// the last to come within a class, whatever the order of the queue is. Lossless.
// Source: vLLM's preemption under its priority scheduling.

#include <tuple>

#include "sched/policies.h"

namespace sluice {

class LowestPriority final : public PreemptPolicy {
 public:
  SeqId victim(const Sequence&, std::span<const Sequence* const> running, Nanos) const override {
    const Sequence* last = nullptr;
    auto order = [](const Sequence& s) { return std::tuple(s.request->priority, s.arrival, s.id); };
    for (const Sequence* s : running)
      if (last == nullptr || order(*s) > order(*last)) last = s;
    return last == nullptr ? kNoSeq : last->id;
  }
};

}  // namespace sluice
