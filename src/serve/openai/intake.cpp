#include "serve/openai/intake.h"

namespace sluice {

Status Intake::post(size_t bytes, Worker::Job job) {
  {
    std::lock_guard lock(mutex_);
    if (jobs_ >= limits_.jobs)
      return resource_exhausted(fmt::format("{} requests wait to be read already; try again later", jobs_));
    if (jobs_ > 0 && bytes_ + bytes > limits_.bytes)
      return resource_exhausted(fmt::format(
          "{} bytes of requests wait to be read already, and {} more exceed the {} allowed; try again later", bytes_,
          bytes, limits_.bytes));
    ++jobs_;
    bytes_ += bytes;
  }
  Worker& worker = bytes > kLargeBytes ? large_ : small_;
  worker.post([this, bytes, job = std::move(job)]() mutable {
    job();
    job = nullptr;  // the body goes before its place is given to another
    std::lock_guard lock(mutex_);
    --jobs_;
    bytes_ -= bytes;
  });
  return {};
}

void Intake::stop() {
  small_.stop();
  large_.stop();
}

}  // namespace sluice
