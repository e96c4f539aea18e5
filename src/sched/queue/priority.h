#pragma once
// By the request's `priority`, low first, arrival order within one; vLLM's meaning of the field. Lossless. A steady
// stream of urgent requests starves the others: that is what was asked for.

#include "sched/policies.h"

namespace sluice {

class Priority final : public QueuePolicy {
 public:
  double rank(const Sequence& seq, Nanos) const override { return seq.request->priority; }
  bool rank_moves() const override { return false; }
};

}  // namespace sluice
