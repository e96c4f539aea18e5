#pragma once
// Heavy hitters by the mean: the score of H2O divided by the number of rows that have seen the token, so that an early
// one is not kept for its age alone. Lossy.
// Source: an ablation of H2O (Zhang et al., NeurIPS 2023), whose sums favour early tokens.

#include "kv/retention/h2o.h"

namespace sluice {

class Averaged final : public H2o {
 public:
  using H2o::H2o;
  float worth(float score, int rows) const override { return score / static_cast<float>(rows); }
};

}  // namespace sluice
