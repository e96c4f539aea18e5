#pragma once
// Between the I/O thread and the engine: what parses, renders and tokenizes requests. Large bodies have a thread of
// their own, so that a small request does not wait behind megabytes; what waits is bounded.

#include <cstddef>
#include <mutex>

#include "base/result.h"
#include "serve/openai/worker.h"

namespace sluice {

struct IntakeLimits {
  int jobs = 1024;           // waiting or running
  size_t bytes = 64u << 20;  // of their bodies; a body alone may have more
};

class Intake {
 public:
  static constexpr size_t kLargeBytes = 64 << 10;

  explicit Intake(IntakeLimits limits) : limits_(limits) {}

  /// Runs the job of a body of so many bytes, in turn. Errors: resource_exhausted when the bounds are reached.
  Status post(size_t bytes, Worker::Job job);
  void stop();

 private:
  const IntakeLimits limits_;
  std::mutex mutex_;  // guards what stands below, up to the blank line
  int jobs_ = 0;
  size_t bytes_ = 0;

  Worker small_, large_;
};

}  // namespace sluice
