#pragma once
// Preemption by recompute of the lowest class first: of the sequences behind the one that wants blocks in the order of the
// queue, that with the highest `priority` number gives up its own, the last to come within a class. None that the queue puts before it
// does, of whatever class: where waiting lifts a request over a higher class (priority-aging), memory does not take
// that back. The last in the order gives way itself. Lossless.
// Source: vLLM's preemption under its priority scheduling, where both orders are one.

#include <tuple>

#include "sched/policies.h"

namespace sluice {

class LowestPriority final : public PreemptPolicy {
 public:
  explicit LowestPriority(const QueuePolicy& queue) : queue_(queue) {}

  SeqId victim(const Sequence& wants, std::span<const Sequence* const> running, Nanos now) const override {
    const auto place = [&](const Sequence& s) { return std::tuple(queue_.rank(s, now), s.arrival, s.id); };
    const auto by_class = [](const Sequence& s) { return std::tuple(s.request->priority, s.arrival, s.id); };
    const Sequence* last = nullptr;
    bool wants_runs = false;
    for (const Sequence* s : running) {
      wants_runs |= s == &wants;
      if (place(*s) > place(wants) && (last == nullptr || by_class(*s) > by_class(*last))) last = s;
    }
    return last != nullptr ? last->id : wants_runs ? wants.id : kNoSeq;
  }

 private:
  const QueuePolicy& queue_;
};

}  // namespace sluice
