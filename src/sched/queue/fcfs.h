#pragma once
// First come, first served. Lossless. Baseline of every queueing paper.

#include "sched/policies.h"

namespace sluice {

class Fcfs final : public QueuePolicy {
 public:
  double rank(const Sequence&, Nanos) const override { return 0; }  // the tie-break is arrival order
  bool rank_moves() const override { return false; }
};

}  // namespace sluice
