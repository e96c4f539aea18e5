#pragma once
// Static batching: a batch is formed of those that wait when nothing runs, up to --max-num-seqs; no sequence joins it
// later, and the next one is formed when its last member has ended. The baseline that iteration-level scheduling (Orca;
// Yu et al., OSDI 2022) is compared with. Lossless.

#include <set>

#include "sched/policies.h"

namespace sluice {

class StaticBatch : public AdmissionGate {
 public:
  Verdict admit(const Candidate& candidate, const View& view, std::span<const Decided>) const override {
    if (view.running.empty() || members_.contains(candidate.seq.id)) return Verdict::yes;
    // The token budget may spread the batch's prefill over several steps: it stays open for those who were there.
    return !ended_ && candidate.seq.arrival <= formed_at_ ? Verdict::yes : Verdict::not_yet;
  }

  void on(const Event& event) override {
    switch (event.kind) {
      case Event::Kind::admitted:
        if (members_.empty()) {
          formed_at_ = event.at;
          ended_ = false;
        }
        members_.insert(event.seq);
        break;
      case Event::Kind::forked: members_.insert(event.other); break;
      case Event::Kind::finished: leave(event.seq); break;
      default: break;
    }
  }

 protected:
  bool is_member(SeqId id) const { return members_.contains(id); }
  bool no_members() const { return members_.empty(); }
  /// A member goes before it has ended: its seat stays empty.
  void leave(SeqId id) { ended_ |= members_.erase(id) > 0; }

 private:
  std::set<SeqId> members_;  // of the present batch, preempted ones too
  Nanos formed_at_ = 0;
  bool ended_ = false;       // a member has ended: its seat stays empty
};

}  // namespace sluice
