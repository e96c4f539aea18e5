#pragma once
// Priority classes with aging: by the request's `priority`, low first, and each `aging` of waiting lifts a request by one
// class over those that come later. As all ages grow alike, the order of two requests never changes: a request of
// priority p goes before whatever comes more than (p - q) * aging after it, of any priority q, so none starves. A
// waiting request takes the place of running ones of lower classes that it goes before, where there is no room.
// Lossless. Source: multilevel priority with aging, as in operating systems; preemptive classes of service objectives as
// in Llumnix (Sun et al., OSDI 2024) and vLLM's priority scheduling.

#include "sched/policies.h"

namespace sluice {

class PriorityAging final : public QueuePolicy {
 public:
  explicit PriorityAging(Nanos aging) : aging_(aging) {}

  double rank(const Sequence& seq, Nanos) const override {
    return static_cast<double>(seq.request->priority) * static_cast<double>(aging_) + static_cast<double>(seq.arrival);
  }
  bool rank_moves() const override { return false; }
  bool outranks(const Sequence& waiting, const Sequence& running, Nanos now) const override {
    return waiting.request->priority < running.request->priority && rank(waiting, now) < rank(running, now);
  }

 private:
  Nanos aging_;
};

}  // namespace sluice
