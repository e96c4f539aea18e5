#pragma once
// Keyformer: the score of H2O, but of a softmax with Gumbel noise and a temperature, score += softmax((x + noise) / tau):
// letting go of tokens sharpens what is left of the distribution, which the noise and a tau that rises from 1 to 2 over the
// generation undo. 0.3 of the budget is for the newest tokens. Without noise, and with tau at 1, it is H2O. Lossy.
// Paper: Keyformer (Adnan et al., MLSys 2024).
//
// Noise is a function of the request's seed, the layer, the query head, the row and the token.

#include "kv/retention/kv_retention.h"

namespace sluice {

class Keyformer final : public KvRetention {
 public:
  struct Tuning {
    float noise = 1;    // times Gumbel(0, 1)
    float tau_end = 2;  // at the request's max_tokens
  };
  explicit Keyformer(const RetentionOptions& options) : Keyformer(options, Tuning{}) {}
  Keyformer(const RetentionOptions& options, Tuning tuning) : KvRetention(options), tuning_(tuning) {}

  bool wants_scores() const override { return true; }
  Protected protects(int count) const override { return {0, recent(count, 0.3)}; }
  void observe(const RowLook& look, std::span<float> scores) const override;
  float worth(float score, int) const override { return score; }

 private:
  Tuning tuning_;
};

}  // namespace sluice
