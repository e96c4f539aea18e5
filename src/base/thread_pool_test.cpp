#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
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

TEST(Machine, CachedFilePagesOfACgroupAreAvailable) {
  const std::string dir = testing::TempDir() + "sluice_cgroup";
  std::filesystem::create_directory(dir);
  const auto write = [&](const char* file, const char* text) { std::ofstream(dir + "/" + file) << text; };
  EXPECT_FALSE(cgroup_memory(dir).has_value());
  write("memory.max", "max\n");
  write("memory.current", "900\n");
  EXPECT_FALSE(cgroup_memory(dir).has_value());
  write("memory.max", "1000\n");
  write("memory.stat", "anon 250\ninactive_file 400\nactive_file 200\n");
  EXPECT_EQ(cgroup_memory(dir)->total_bytes, 1000u);
  EXPECT_EQ(cgroup_memory(dir)->available_bytes, 700u);
  std::filesystem::remove_all(dir);
}

}  // namespace
}  // namespace sluice
