#pragma once
// A thread that runs jobs one after another, in the order of their posting. It keeps work off the I/O and engine
// threads.

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

namespace sluice {

class Worker {
 public:
  using Job = std::function<void()>;
  Worker();
  /// Joins the thread; jobs that have not begun are dropped, as are those posted later.
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  /// From any thread; never blocks for long.
  void post(Job job);
  void post_after(std::chrono::nanoseconds delay, Job job);
  void stop();

 private:
  using Time = std::chrono::steady_clock::time_point;
  void run();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<Job> jobs_;
  std::multimap<Time, Job> later_;
  bool stopped_ = false;
  std::thread thread_;
};

}  // namespace sluice
