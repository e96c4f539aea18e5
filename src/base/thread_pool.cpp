#include "base/thread_pool.h"

#include <immintrin.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "base/check.h"

namespace sluice {

struct ThreadPool::State {
  // A job is published by raising `generation`; each worker takes part in every job exactly once.
  std::atomic<uint64_t> generation{0};
  std::atomic<int> next{0};
  std::atomic<int> working{0};
  std::atomic<bool> stop{false};
  std::atomic<int> parked{0};
  int n_tasks = 0;
  const TaskRef* task = nullptr;
  std::mutex mutex;
  std::condition_variable wake;
  std::vector<std::thread> threads;

  void take_tasks(int worker) {
    for (int i = next.fetch_add(1, std::memory_order_relaxed); i < n_tasks;
         i = next.fetch_add(1, std::memory_order_relaxed))
      (*task)(i, worker);
  }

  void worker_loop(int worker) {
    constexpr int kSpins = 4000;  // some tens of microseconds: longer than the gap between two operators of a step
    uint64_t seen = 0;
    for (;;) {
      int spins = 0;
      while (generation.load(std::memory_order_acquire) == seen && !stop.load(std::memory_order_relaxed)) {
        if (++spins < kSpins) {
          _mm_pause();
          continue;
        }
        std::unique_lock lock(mutex);
        parked.fetch_add(1);
        wake.wait(lock, [&] { return generation.load() != seen || stop.load(); });
        parked.fetch_sub(1);
      }
      if (stop.load(std::memory_order_relaxed)) return;
      seen = generation.load(std::memory_order_acquire);
      take_tasks(worker);
      working.fetch_sub(1, std::memory_order_release);
    }
  }
};

ThreadPool::ThreadPool(int threads) : state_(std::make_unique<State>()) {
  CHECK(threads >= 1, "a pool needs at least one thread, got {}", threads);
  for (int w = 1; w < threads; ++w) state_->threads.emplace_back([this, w] { state_->worker_loop(w); });
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard lock(state_->mutex);
    state_->stop.store(true);
  }
  state_->wake.notify_all();
  for (auto& t : state_->threads) t.join();
}

int ThreadPool::size() const { return static_cast<int>(state_->threads.size()) + 1; }

void ThreadPool::run(int n_tasks, TaskRef f) {
  State& s = *state_;
  if (s.threads.empty() || n_tasks <= 1) {
    for (int i = 0; i < n_tasks; ++i) f(i, 0);
    return;
  }
  s.task = &f;
  s.n_tasks = n_tasks;
  s.next.store(0, std::memory_order_relaxed);
  s.working.store(static_cast<int>(s.threads.size()), std::memory_order_relaxed);
  // The seq_cst pair (generation here, parked in the worker) makes sure that a worker which is about to park is seen,
  // or itself sees the new generation under the mutex.
  s.generation.fetch_add(1);
  if (s.parked.load() > 0) {
    std::lock_guard lock(s.mutex);
    s.wake.notify_all();
  }
  s.take_tasks(0);
  for (int spins = 0; s.working.load(std::memory_order_acquire) != 0; ++spins) {
    if (spins < 20000) _mm_pause();
    else std::this_thread::yield();
  }
}

}  // namespace sluice
