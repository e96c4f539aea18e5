#pragma once
// Shortest job first by predicted length: a request is ranked by its arrival plus `aging` for each token of its prompt and
// each that it is predicted to still generate. So a shorter one overtakes, but a request of L such tokens waits for none that
// comes more than L * aging after it: however wrong the predictor is, nobody starves. The prediction is made once, when
// the request comes; one that has outlived it counts as having as much ahead as behind. Lossless.
// Paper: shortest-job-first serving by learned predictions, as in Fu et al., Efficient LLM scheduling by learning to rank,
// NeurIPS 2024, and Zheng et al., NeurIPS 2023; aging against starvation as in the former.

#include <map>

#include "sched/policies.h"

namespace sluice {

class ShortestJob final : public QueuePolicy {
 public:
  /// The predictor outlives the policy.
  ShortestJob(const LengthPredictor& lengths, Nanos aging_per_token) : lengths_(lengths), aging_(aging_per_token) {}

  double rank(const Sequence& seq, Nanos) const override {
    const int done = seq.output_tokens();
    int total = predicted_.at(seq.id);
    while (total <= done) total *= 2;
    return static_cast<double>(seq.arrival) + static_cast<double>(aging_) * (seq.prompt_tokens() + total - done);
  }
  bool rank_moves() const override { return false; }

  void on_new(const Sequence& seq) override { predicted_[seq.id] = lengths_.predict(*seq.request); }
  void on(const Event& event) override {
    if (event.kind == Event::Kind::finished) predicted_.erase(event.seq);
  }

 private:
  const LengthPredictor& lengths_;
  Nanos aging_;
  std::map<SeqId, int> predicted_;  // tokens in all
};

}  // namespace sluice
