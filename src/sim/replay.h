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

/// Who wants to watch; each may be empty.
struct ReplayHooks {
  std::function<void(size_t done, size_t all)> progress;             // a request has ended
  std::function<void(size_t request, const Output& output)> output;  // news of a request, by its place in the trace
  std::function<void()> stepped;                                     // a step has settled
};

/// One record per request, in the order of the trace.
std::vector<RequestRecord> replay(Engine& engine, const std::vector<Request>& requests, const std::vector<Nanos>& arrivals,
                                  const ReplayTime& time, const ReplayHooks& hooks = {});

}  // namespace sluice
