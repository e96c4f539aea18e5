#pragma once
// A replica at random, uniformly: what a proxy without memory does, and DNS. Lossless; the same seed gives the same choices.

#include "base/rng.h"
#include "route/router.h"

namespace sluice {

class RandomRouter final : public Router {
 public:
  explicit RandomRouter(uint64_t seed) : rng_(seed ^ 0x40073) {}
  ReplicaId route(const Request&, std::span<const ReplicaLoad> loads) override {
    return static_cast<ReplicaId>(rng_.below(loads.size()));
  }

 private:
  Rng rng_;
};

}  // namespace sluice
