#pragma once
// Time is injected: the server runs on RealClock, the simulator and the tests on VirtualClock.

#include "base/ids.h"

namespace sluice {

struct Clock {
  virtual ~Clock() = default;
  virtual Nanos now() const = 0;  // monotonic, ns
};

class RealClock final : public Clock {
 public:
  Nanos now() const override;
};

class VirtualClock final : public Clock {
 public:
  Nanos now() const override { return now_; }
  /// Moves forward only; an earlier time is ignored.
  void advance_to(Nanos t) { if (t > now_) now_ = t; }

 private:
  Nanos now_ = 0;
};

}  // namespace sluice
