#pragma once
// Batches of requests whose outputs are predicted to be about as long, so that few seats are empty while the last of a
// batch goes on. Bins are powers of two of the predicted length; the longer a bin's outputs, the smaller its batches. A
// request is put into the bin that is predicted when its batch is formed; one that exceeds it is stopped and goes on later, in a batch of those that have (failure collection). Lossless.
// Paper: Zheng et al., Response Length Perception and Sequence Scheduling, NeurIPS 2023.

#include <algorithm>
#include <bit>
#include <memory>
#include <unordered_map>

#include "base/check.h"
#include "sched/gate/static_batch.h"

namespace sluice {

class LengthBinned final : public StaticBatch {
 public:
  /// `lengths` outlives it.
  LengthBinned(int max_num_seqs, const LengthPredictor* lengths) : max_num_seqs_(max_num_seqs), lengths_(lengths) { CHECK(lengths != nullptr); }

  Verdict admit(const Candidate& candidate, const View& view, std::span<const Decided> plan) const override {
    const Verdict verdict = StaticBatch::admit(candidate, view, plan);
    if (verdict != Verdict::yes || is_member(candidate.seq.id)) return verdict;
    const int bin = bin_of(table_.at(candidate.seq.id));
    if (view.running.empty() && plan.empty()) return (bin == kFailed) == failed_have_their_turn(view) ? Verdict::yes : Verdict::pass_over;
    const Sequence& member = plan.empty() ? *view.running.front() : *plan.front().seq;
    if (bin_of(table_.at(member.id)) != bin) return Verdict::pass_over;
    int64_t members = static_cast<int64_t>(view.running.size()) + 1;
    for (const Decided& d : plan) members += d.seq->state == Sequence::State::waiting;
    return members * bin <= int64_t{view.total_blocks} * view.block_tokens ? Verdict::yes : Verdict::pass_over;
  }

  bool revokes(const Sequence& seq, const View& view) const override {
    const Entry& e = table_.at(seq.id);
    return e.bin != kFailed && seq.output_tokens() >= bin_of(e) && !view.waiting.empty();
  }

  void on_new(const Sequence& seq) override {
    table_[seq.id] = {.request = seq.request, .outputs = seq.output_tokens()};  // a beam is born with those of its parent
  }
  void on(const Event& event) override {
    const auto it = table_.find(event.kind == Event::Kind::forked ? event.other : event.seq);
    if (it == table_.end()) return StaticBatch::on(event);
    Entry& e = it->second;
    switch (event.kind) {
      case Event::Kind::forked: e.bin = bin_of(table_.at(event.seq)); break;
      case Event::Kind::admitted:
        e.bin = bin_of(e);
        if (no_members()) batches_since_failed_ = e.bin == kFailed ? 0 : batches_since_failed_ + 1;
        failed_waiting_ -= std::exchange(e.waits_as_failed, false);
        break;
      case Event::Kind::sampled: e.outputs += event.tokens; break;
      case Event::Kind::preempted:
        if (e.bin == kFailed || e.outputs < e.bin) break;
        e.bin = kFailed;
        e.waits_as_failed = true;
        ++failed_waiting_;
        leave(event.seq);
        break;
      case Event::Kind::finished:
        failed_waiting_ -= e.waits_as_failed;
        table_.erase(it);
        break;
      default: break;
    }
    StaticBatch::on(event);
  }

 private:
  static constexpr int kFailed = 0, kUnknown = -1, kLeastBin = 16;
  static constexpr int kMostBatchesBefore = 8;  // that those who failed may be kept waiting
  struct Entry {
    std::shared_ptr<const Request> request;
    int bin = kUnknown;  // most outputs, or kFailed; unknown before the first admission
    int outputs = 0;
    bool waits_as_failed = false;
  };

  int bin_of(const Entry& e) const {
    if (e.bin != kUnknown) return e.bin;
    return static_cast<int>(std::bit_ceil(static_cast<unsigned>(std::max(kLeastBin, lengths_->predict(*e.request)))));
  }

  bool failed_have_their_turn(const View& view) const {
    if (failed_waiting_ == 0) return false;
    if (failed_waiting_ >= max_num_seqs_ || batches_since_failed_ >= kMostBatchesBefore) return true;
    return std::ranges::all_of(view.waiting, [&](const Sequence* s) { return table_.at(s->id).bin == kFailed; });
  }

  int max_num_seqs_;
  const LengthPredictor* lengths_;
  std::unordered_map<SeqId, Entry> table_;
  int failed_waiting_ = 0, batches_since_failed_ = 0;
};

}  // namespace sluice
