#include "serve/openai/worker.h"

namespace sluice {

Worker::Worker() : thread_([this] { run(); }) {}

Worker::~Worker() { stop(); }

void Worker::stop() {
  {
    std::lock_guard lock(mutex_);
    stopped_ = true;
    wake_.notify_one();
  }
  if (thread_.joinable()) thread_.join();
}

void Worker::post(Job job) {
  std::lock_guard lock(mutex_);
  if (stopped_) return;
  jobs_.push_back(std::move(job));
  if (jobs_.size() == 1) wake_.notify_one();
}

void Worker::post_after(std::chrono::nanoseconds delay, Job job) {
  std::lock_guard lock(mutex_);
  if (stopped_) return;
  later_.emplace(std::chrono::steady_clock::now() + delay, std::move(job));
  wake_.notify_one();
}

void Worker::run() {
  std::vector<Job> ready;
  std::unique_lock lock(mutex_);
  while (!stopped_) {
    const Time now = std::chrono::steady_clock::now();
    while (!later_.empty() && later_.begin()->first <= now) {
      jobs_.push_back(std::move(later_.begin()->second));
      later_.erase(later_.begin());
    }
    if (jobs_.empty()) {
      if (later_.empty())
        wake_.wait(lock);
      else
        wake_.wait_until(lock, later_.begin()->first);
      continue;
    }
    ready.swap(jobs_);
    lock.unlock();
    for (Job& job : ready) {
      job();
      job = nullptr;  // what it holds goes now, not with the last of the batch
    }
    ready.clear();
    lock.lock();
  }
  // The jobs left over may hold the last reference to what posts here: they go without the lock.
  std::vector<Job> dropped = std::move(jobs_);
  std::multimap<Time, Job> dropped_later = std::move(later_);
  lock.unlock();
}

}  // namespace sluice
