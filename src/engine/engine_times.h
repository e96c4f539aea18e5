#pragma once
// Where the time of the engine's steps goes. An engine keeps these only when it is given a place for them.

#include <cstdint>
#include <memory>

#include "base/clock.h"
#include "kv/prefix/prefix_cache.h"

namespace sluice {

struct EngineTimes {
  Nanos inbox = 0;         // taking requests and cancellations in
  Nanos decide = 0;        // asking the policies
  Nanos commit = 0;        // applying what they said, and making the plan
  Nanos execute = 0;       // the executor: copies, forward pass, sampling
  Nanos settle = 0;        // taking the result in
  Nanos deliver = 0;       // the sinks of the requests
  Nanos prefix_cache = 0;  // of decide, commit and settle: what the prefix cache took
  uint64_t steps = 0;

  Nanos total() const { return inbox + decide + commit + execute + settle + deliver; }
};

/// Adds the time since the last mark to a part; does nothing without a place for it.
class LapTimer {
 public:
  LapTimer(EngineTimes* times, const Clock& clock) : times_(times), clock_(clock), last_(times ? clock.now() : 0) {}
  void mark(Nanos EngineTimes::*part) {
    if (times_ == nullptr) return;
    const Nanos now = clock_.now();
    times_->*part += now - last_;
    last_ = now;
  }

 private:
  EngineTimes* times_;
  const Clock& clock_;
  Nanos last_;
};

/// The same cache, every call timed into `times.prefix_cache`; both others outlive it.
std::unique_ptr<PrefixCache> timed(std::unique_ptr<PrefixCache> cache, EngineTimes& times, const Clock& clock);

}  // namespace sluice
