#pragma once
// A progress line on stderr: rewritten in place on a terminal, a line every few seconds elsewhere.

#include <string>

#include "base/clock.h"

namespace sluice {

class Progress {
 public:
  explicit Progress(std::string what);
  ~Progress();
  /// `done` of `all` in any unit; `detail` is shown behind the share.
  void update(double done, double all, const std::string& detail = {});

 private:
  std::string what_;
  RealClock clock_;
  Nanos last_ = 0, start_ = 0;
  bool terminal_ = false, shown_ = false;
};

}  // namespace sluice
