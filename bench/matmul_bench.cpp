// Ops::matmul per weight type, shape and number of rows, on the table that SLUICE_ISA names (or the best) and SLUICE_THREADS
// threads (or all usable cores). GB/s counts the packed weights once per call; GOP/s is 2 n k rows per second; of_roofline is
// the share of what binds, which the label names: the memory's bandwidth, or the peak of the weights' arithmetic.
//
// Enough matrices are cycled through that one row finds its weights in memory, not in a cache, as a model's decode does.

#include <benchmark/benchmark.h>

#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "backend/op_table.h"
#include "backend/ops.h"
#include "base/machine.h"
#include "base/rng.h"
#include "bench/limits.h"
#include "quant/weight/weight_format.h"

namespace sluice {
namespace {

ThreadPool& pool() {
  const char* threads = std::getenv("SLUICE_THREADS");
  static ThreadPool p(threads != nullptr ? std::atoi(threads) : usable_cores());
  return p;
}

void matmul(benchmark::State& state, const WeightFormat* format, int64_t n, int64_t k, int64_t rows) {
  const auto table = select_op_table();
  if (!table) return state.SkipWithError(table.error().message.c_str());
  const Ops ops(**table, pool());
  const size_t bytes = Ops::packed_bytes(format->dtype, n, k);
  const int copies = static_cast<int>((size_t{192} << 20) / bytes) + 1;

  std::vector<float> row(static_cast<size_t>(k));
  Rng rng(1);
  for (float& v : row) v = static_cast<float>(rng.next_normal());
  std::vector<uint8_t> w(row_bytes(format->dtype, n * k));
  const size_t one = row_bytes(format->dtype, k);
  format->encode(row.data(), w.data(), k);
  for (int64_t r = 1; r < n; ++r) std::memcpy(w.data() + static_cast<size_t>(r) * one, w.data(), one);
  Buffer packed = Buffer::allocate(bytes * static_cast<size_t>(copies)).value();
  std::vector<PackedMatrix> matrices;
  for (int i = 0; i < copies; ++i) {
    uint8_t* at = packed.data() + bytes * static_cast<size_t>(i);
    ops.pack({w.data(), format->dtype, Shape{n, k}}, at);
    matrices.push_back({format->dtype, n, k, at});
  }
  std::vector<float> x, y(static_cast<size_t>(rows * n));
  for (int64_t r = 0; r < rows; ++r) x.insert(x.end(), row.begin(), row.end());

  size_t next = 0;
  for (auto _ : state) {
    const MatmulOut out{&matrices[next], nullptr, y.data(), n};
    ops.matmul({x.data(), rows, k}, {&out, 1});
    benchmark::DoNotOptimize(y.data());
    next = (next + 1) % matrices.size();
  }
  const MatmulOut out{&matrices[0], nullptr, y.data(), n};
  const std::string binds = report(state, matmul_work(rows, {&out, 1}), limits_of(**table, pool()));
  state.SetLabel(std::string((*table)->isa) + ", " + std::to_string(pool().size()) + " threads, of " + binds);
}

}  // namespace
}  // namespace sluice

int main(int argc, char** argv) {
  using namespace sluice;
  for (const WeightFormat* f : weight_formats())
    for (const auto& [n, k] : {std::pair<int64_t, int64_t>{4864, 896}, {896, 4864}, {8192, 2048}}) {
      if (k % f->block_elems != 0) continue;
      for (const int64_t rows : {1, 2, 4, 8, 16, 32, 512})
        benchmark::RegisterBenchmark(
            (std::string(f->name) + "/" + std::to_string(n) + "x" + std::to_string(k) + "/rows:" + std::to_string(rows)).c_str(),
            [f, n = n, k = k, rows](benchmark::State& s) { matmul(s, f, n, k, rows); })
            ->UseRealTime()->Unit(benchmark::kMicrosecond)->MinTime(0.3);
    }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
