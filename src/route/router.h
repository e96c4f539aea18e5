#pragma once
// The seam of routing: which replica gets a request. A router sees replicas from outside, as a proxy does: their loads,
// and what it sent them itself.

#include <span>

#include "sched/request.h"

namespace sluice {

using ReplicaId = int;  // an index into the loads

/// What a replica last said of itself, and what was sent to it since.
struct ReplicaLoad {
  int running = 0, waiting = 0;  // sequences
  int total_blocks = 0;          // of its KV cache
  int available_blocks = 0;      // free or evictable

  int outstanding() const { return running + waiting; }
};

struct Router {
  virtual ~Router() = default;
  /// Called once a request, in order of arrival; `loads` has at least one replica. The request goes where it says.
  virtual ReplicaId route(const Request& request, std::span<const ReplicaLoad> loads) = 0;
};

/// The replica with the fewest requests; of those, the one with the most KV blocks left; of those, the first.
inline ReplicaId least_loaded(std::span<const ReplicaLoad> loads) {
  ReplicaId best = 0;
  for (ReplicaId i = 1; i < static_cast<ReplicaId>(loads.size()); ++i) {
    const int more = loads[i].outstanding() - loads[best].outstanding();
    if (more < 0 || (more == 0 && loads[i].available_blocks > loads[best].available_blocks)) best = i;
  }
  return best;
}

}  // namespace sluice
