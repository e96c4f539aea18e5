#pragma once
// Heavy hitters: a token's score is the attention probability that it has got from all rows so far, of the prompt too, summed over the
// query heads that share a KV head. Half of the budget (--kv-retention-recent) is for the newest tokens, the rest for the
// highest scores, in each layer and KV head its own. Approximates: what was let go of is never seen again. Lossy.
// Paper: H2O (Zhang et al., NeurIPS 2023).

#include "kv/retention/kv_retention.h"

namespace sluice {

class H2o : public KvRetention {
 public:
  using KvRetention::KvRetention;
  bool wants_scores() const override { return true; }
  Protected protects(int count) const override { return {0, recent(count, 0.5)}; }
  void observe(const RowLook& look, std::span<float> scores) const override {
    static thread_local std::vector<float> scratch;
    add_softmax(look.logits, scratch, scores);
  }
  float worth(float score, int) const override { return score; }
};

}  // namespace sluice
