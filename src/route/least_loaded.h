#pragma once
// Join the shortest queue: the replica with the fewest requests, waiting and running. Optimal for equal exponential services (Winston, "Optimality of
// the shortest line discipline", J. Appl. Prob. 1977). Lossless.

#include "route/router.h"

namespace sluice {

class LeastLoaded final : public Router {
 public:
  ReplicaId route(const Request&, std::span<const ReplicaLoad> loads) override { return least_loaded(loads); }
};

}  // namespace sluice
