#pragma once
// One persistent pool for compute. The caller is worker 0; the others spin briefly between jobs, then park.
// Results may not depend on the thread count: a task's output is a function of its index alone.

#include <functional>
#include <memory>
#include <type_traits>

namespace sluice {

/// A non-owning reference to a callable; lives no longer than the call it is passed to.
class TaskRef {
 public:
  template <class F, class = std::enable_if_t<!std::is_same_v<std::decay_t<F>, TaskRef>>>
  TaskRef(F&& f)  // NOLINT: implicit by design
      : object_(const_cast<void*>(static_cast<const void*>(&f))),
        call_([](void* o, int task, int worker) { (*static_cast<std::remove_reference_t<F>*>(o))(task, worker); }) {}
  void operator()(int task, int worker) const { call_(object_, task, worker); }

 private:
  void* object_;
  void (*call_)(void*, int, int);
};

class ThreadPool {
 public:
  /// `threads` >= 1 counts the caller. A pool of 1 starts no thread.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const;
  /// Runs f(task, worker) for task in [0, n_tasks), worker in [0, size()); returns when all are done. Tasks are handed
  /// out one at a time in ascending order. Not reentrant: one caller at a time, and no call from inside a task.
  void run(int n_tasks, TaskRef f);
  /// The same, by the caller alone where `worthwhile` is false: some microseconds of work are done sooner than shared.
  void run_if(bool worthwhile, int n_tasks, TaskRef f) {
    if (worthwhile) return run(n_tasks, f);
    for (int i = 0; i < n_tasks; ++i) f(i, 0);
  }

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sluice
