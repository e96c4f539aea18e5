#pragma once
// Dynamic (windowed) batching: a batch is formed when --max-num-seqs requests wait or the first of them has waited for
// --max-queue-delay-ms, whatever comes first; then it runs as a static batch does. Lossless.
// Source: the dynamic batcher of NVIDIA's Triton Inference Server (max_queue_delay_microseconds).

#include <algorithm>

#include "sched/gate/static_batch.h"

namespace sluice {

class WindowedBatch final : public StaticBatch {
 public:
  WindowedBatch(int max_num_seqs, Nanos window) : max_num_seqs_(max_num_seqs), window_(window) {}

  Verdict admit(const Candidate& candidate, const View& view, std::span<const Decided> plan) const override {
    const bool forming = view.running.empty() && plan.empty() && !is_member(candidate.seq.id);
    if (forming && closes_at(view) > view.now) return Verdict::not_yet;
    return StaticBatch::admit(candidate, view, plan);
  }
  Nanos opens_at(const View& view) const override {
    return view.running.empty() && !view.waiting.empty() ? closes_at(view) : view.now;
  }

 private:
  Nanos closes_at(const View& view) const {
    if (static_cast<int>(view.waiting.size()) >= max_num_seqs_) return view.now;
    Nanos first = view.now;
    for (const Sequence* s : view.waiting) first = std::min(first, s->arrival);
    return first + window_;
  }

  int max_num_seqs_;
  Nanos window_;
};

}  // namespace sluice
