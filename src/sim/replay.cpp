#include "sim/replay.h"

#include <algorithm>
#include <cstdint>

namespace sluice {

std::vector<RequestRecord> replay(Engine& engine, const std::vector<Request>& requests, const std::vector<Nanos>& arrivals,
                                  const ReplayTime& time, const ReplayHooks& hooks) {
  CHECK(requests.size() == arrivals.size());
  std::vector<RequestRecord> records(requests.size());
  const Nanos start = time.clock.now();
  size_t next = 0, done = 0;
  while (done < requests.size()) {
    for (; next < requests.size() && start + arrivals[next] <= time.clock.now(); ++next) {
      RequestRecord& record = records[next];
      record.arrival = start + arrivals[next];
      record.prompt_tokens = static_cast<int>(requests[next].prompt.size());
      Request request = requests[next];
      request.arrival = record.arrival;
      const auto id = engine.add(std::move(request), [&record, &done, &time, &hooks, index = next](const Output& out) {
        if (hooks.output) hooks.output(index, out);
        for (size_t i = 0; i < out.tokens.size(); ++i) record.token_times.push_back(time.clock.now());
        if (out.finish == FinishReason::error) record.error = std::string(out.error);
        if (!out.request_done) return;
        record.ok = out.finish == FinishReason::stop || out.finish == FinishReason::length;
        ++done;
      });
      if (!id.ok()) {
        record.error = id.error().message;
        ++done;
      }
    }
    const size_t done_before = done;
    const bool worked = engine.step();
    if (worked && hooks.stepped) hooks.stepped();
    if (hooks.progress && done != done_before) hooks.progress(done, requests.size());
    if (worked) continue;
    Nanos event = next < requests.size() ? start + arrivals[next] : INT64_MAX;
    if (engine.held_until() > 0) event = std::min(event, engine.held_until());
    if (event < INT64_MAX) time.wait_until(event);
  }
  return records;
}

}  // namespace sluice
