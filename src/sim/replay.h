#pragma once
// Replays a workload through an engine. With a SimExecutor and a VirtualClock a trace of hours takes seconds; with the
// real executor and the real clock it is a load test without HTTP. The loop is the same.

#include <functional>
#include <vector>

#include "engine/engine.h"
#include "sim/serving_report.h"
#include "sim/trace.h"

namespace sluice {

struct ReplayTime {
  const Clock& clock;
  /// Called when the engine is idle until `t`: a virtual clock jumps, a real one sleeps.
  std::function<void(Nanos t)> wait_until;
};

/// One record per request, in the order of the trace. `progress(done, all)` may be empty.
std::vector<RequestRecord> replay(Engine& engine, const std::vector<Request>& requests, const std::vector<Nanos>& arrivals,
                                  const ReplayTime& time, const std::function<void(size_t, size_t)>& progress = {});

}  // namespace sluice
