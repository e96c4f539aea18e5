#include "base/thread_pool.h"

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "base/check.h"
#include "base/cpu_pause.h"

namespace sluice {

namespace {

// The job's tasks and the next one to take, in one word: whoever raises it has claimed a task of the job that runs now,
// which cannot end before that task is done. A worker that wakes late, or never, holds nobody up.
constexpr uint64_t ticket_of(int n_tasks) { return static_cast<uint64_t>(n_tasks) << 32; }
constexpr uint32_t tasks_in(uint64_t ticket) { return static_cast<uint32_t>(ticket >> 32); }
constexpr uint32_t next_in(uint64_t ticket) { return static_cast<uint32_t>(ticket); }
constexpr bool has_work(uint64_t ticket) { return next_in(ticket) < tasks_in(ticket); }

}  // namespace

struct ThreadPool::State {
  alignas(64) std::atomic<uint64_t> ticket{0};
  alignas(64) std::atomic<int> done{0};
  std::atomic<const TaskRef*> task{nullptr};
  std::atomic<bool> stop{false};
  std::atomic<int> parked{0};
  std::mutex mutex;
  std::condition_variable wake;
  std::vector<std::thread> threads;

  void take_tasks(int worker) {
    uint64_t now = ticket.load(std::memory_order_acquire);
    while (has_work(now)) {
      if (!ticket.compare_exchange_weak(now, now + 1, std::memory_order_acq_rel, std::memory_order_acquire)) continue;
      (*task.load(std::memory_order_relaxed))(static_cast<int>(next_in(now)), worker);
      done.fetch_add(1, std::memory_order_release);
      now = ticket.load(std::memory_order_acquire);
    }
  }

  void worker_loop(int worker) {
    constexpr int kSpins = 4000;  // some tens of microseconds: longer than the gap between two operators of a step
    for (int spins = 0; !stop.load(std::memory_order_relaxed);) {
      if (has_work(ticket.load(std::memory_order_relaxed))) {
        take_tasks(worker);
        spins = 0;
      } else if (++spins < kSpins) {
        cpu_pause();
      } else {
        std::unique_lock lock(mutex);
        parked.fetch_add(1);
        wake.wait(lock, [&] { return has_work(ticket.load()) || stop.load(); });
        parked.fetch_sub(1);
        spins = 0;
      }
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
  s.task.store(&f, std::memory_order_relaxed);
  s.done.store(0, std::memory_order_relaxed);
  // The seq_cst pair (ticket here, parked in the worker) makes sure that a worker which is about to park is seen, or
  // itself sees the new job under the mutex.
  s.ticket.store(ticket_of(n_tasks));
  if (s.parked.load() > 0) {
    std::lock_guard lock(s.mutex);
    s.wake.notify_all();
  }
  s.take_tasks(0);
  for (int spins = 0; s.done.load(std::memory_order_acquire) != n_tasks; ++spins) {
    if (spins < 4000) cpu_pause();
    else std::this_thread::yield();
  }
}

}  // namespace sluice
