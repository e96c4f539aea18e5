#pragma once
// Predicted reservation: a sequence reserves its prompt and as many outputs as are predicted, and starts when the
// reservations of all that run fit the pool with its own. The prediction is the one of the time of its first admission. One that reaches its reservation and has not ended is preempted, its
// reservation doubled, and it asks again; a fork goes on with what its parent had reserved. Lossless; how well the pool is used depends on the predictor.
// Paper: S3 (Jin et al., NeurIPS 2023): the predictor names a bucket of lengths, the supervisor preempts and doubles.

#include <algorithm>
#include <memory>
#include <unordered_map>

#include "base/check.h"
#include "base/log.h"
#include "sched/policies.h"

namespace sluice {

class PredictedReservation final : public AdmissionGate {
 public:
  /// `lengths` outlives it.
  explicit PredictedReservation(const LengthPredictor* lengths) : lengths_(lengths) { CHECK(lengths != nullptr); }

  Verdict admit(const Candidate& candidate, const View& view, std::span<const Decided> plan) const override {
    if (blocks(static_cast<int64_t>(candidate.seq.tokens.size()), view) > view.total_blocks) return Verdict::never;
    if (view.running.empty() && plan.empty()) return Verdict::yes;  // alone it may have everything
    int64_t reserved = reservation(candidate.seq, view);
    for (const Sequence* s : view.running) reserved += reservation(*s, view);
    for (const Decided& d : plan)
      if (d.seq->state == Sequence::State::waiting) reserved += reservation(*d.seq, view);
    return reserved <= view.total_blocks && candidate.blocks_needed <= view.available_blocks ? Verdict::yes : Verdict::not_yet;
  }

  bool revokes(const Sequence& seq, const View& view) const override {
    // Alone it has the whole pool.
    return view.running.size() > 1 && seq.output_tokens() >= reserved_outputs(table_.at(seq.id));
  }

  void on_new(const Sequence& seq) override {
    table_[seq.id] = {.request = seq.request, .outputs = seq.output_tokens()};  // a beam is born with those of its parent
  }
  void on(const Event& event) override {
    const auto it = table_.find(event.seq);
    if (it == table_.end()) return;
    Entry& e = it->second;
    switch (event.kind) {
      case Event::Kind::admitted:
        if (e.reserved == 0) e.predicted = e.reserved = reserved_outputs(e);
        break;
      case Event::Kind::forked:  // and its parent's reservation, doubled or not
        if (const auto child = table_.find(event.other); child != table_.end()) {
          child->second.predicted = e.predicted;
          child->second.reserved = e.reserved;
        }
        break;
      case Event::Kind::sampled: e.outputs += event.tokens; break;
      case Event::Kind::preempted:
        if (e.outputs >= e.reserved) e.reserved = std::min(2 * e.reserved, e.request->max_tokens);
        break;
      case Event::Kind::finished:
        if (e.outputs > e.predicted) log_debug("sequence {}: {} outputs, {} were predicted", event.seq, e.outputs, e.predicted);
        table_.erase(it);
        break;
      default: break;
    }
  }

 private:
  struct Entry {
    std::shared_ptr<const Request> request;
    int predicted = 0, reserved = 0, outputs = 0;  // tokens; the first two are 0 before the first admission
  };
  int reserved_outputs(const Entry& e) const {
    return e.reserved > 0 ? e.reserved : std::clamp(lengths_->predict(*e.request), 1, e.request->max_tokens);
  }
  static int64_t blocks(int64_t positions, const View& view) { return (positions + view.block_tokens - 1) / view.block_tokens; }
  int64_t reservation(const Sequence& seq, const View& view) const {
    const int64_t positions = std::max<int64_t>(static_cast<int64_t>(seq.tokens.size()), seq.prompt_tokens() + reserved_outputs(table_.at(seq.id)));
    const bool will_fork = seq.sample == 0 && seq.output_tokens() == 0;
    return (will_fork ? seq.request->lines() : 1) * blocks(positions, view);
  }

  const LengthPredictor* lengths_;
  std::unordered_map<SeqId, Entry> table_;
};

}  // namespace sluice
