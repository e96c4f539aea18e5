#pragma once
// Each replica in turn, whatever its load. Baseline of every routing paper. Lossless.

#include "route/router.h"

namespace sluice {

class RoundRobin final : public Router {
 public:
  ReplicaId route(const Request&, std::span<const ReplicaLoad> loads) override {
    return static_cast<ReplicaId>(next_++ % loads.size());
  }

 private:
  size_t next_ = 0;
};

}  // namespace sluice
