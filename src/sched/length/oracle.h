#pragma once
// The oracle of the papers on length prediction: max_tokens is the length where it is forced, as in simulations and
// benchmarks. For requests that end by themselves it is the upper bound that the client gave.

#include "sched/policies.h"

namespace sluice {

class Oracle final : public LengthPredictor {
 public:
  int predict(const Request& request) const override { return std::max(1, request.max_tokens); }
};

}  // namespace sluice
