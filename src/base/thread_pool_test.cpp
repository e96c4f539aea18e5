#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "base/machine.h"

namespace sluice {
namespace {

TEST(ThreadPool, EveryTaskRunsExactlyOnce) {
  for (int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    for (int round = 0; round < 300; ++round) {
      const int n = round % 37;
      std::vector<std::atomic<int>> runs(n);
      std::atomic<bool> bad_worker{false};
      pool.run(n, [&](int task, int worker) {
        runs[task].fetch_add(1);
        if (worker < 0 || worker >= threads) bad_worker = true;
      });
      for (auto& r : runs) ASSERT_EQ(r.load(), 1);
      ASSERT_FALSE(bad_worker.load());
    }
  }
}

TEST(ThreadPool, WakesWorkersThatHaveParked) {
  ThreadPool pool(3);
  for (int round = 0; round < 3; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    std::atomic<int> sum{0};
    pool.run(100, [&](int task, int) { sum += task; });
    ASSERT_EQ(sum.load(), 4950);
  }
}

TEST(Machine, LimitsAreSane) {
  EXPECT_GE(usable_cores(), 1);
  const MemoryLimit limit = memory_limit();
  EXPECT_GT(limit.total_bytes, size_t{64} << 20);
  EXPECT_LE(limit.available_bytes, limit.total_bytes);
}

}  // namespace
}  // namespace sluice
