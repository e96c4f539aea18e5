#pragma once
// Static batching: a batch is formed when nothing runs, and no sequence joins until its last member has ended. The
// baseline that iteration-level scheduling (Orca; Yu et al., OSDI 2022) is compared with. Lossless.

#include "sched/policies.h"

namespace sluice {

class StaticBatch final : public AdmissionGate {
 public:
  Verdict admit(const Candidate&, const View& view, std::span<const Decided>) const override {
    return view.running.empty() ? Verdict::yes : Verdict::not_yet;
  }
};

}  // namespace sluice
