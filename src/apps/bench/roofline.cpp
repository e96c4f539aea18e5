#include "apps/bench/roofline.h"

#include <algorithm>
#include <atomic>
#include <vector>

#include "base/clock.h"

namespace sluice {

double measure_memory_gbps(ThreadPool& pool) {
  RealClock clock;
  double best = 0;
  // Much more than the caches hold, in one pass per run; every line is used, so that nothing is optimised away.
  const size_t words_per_thread = size_t{24} << 20;  // 192 MiB each
  std::vector<uint64_t> data(words_per_thread * static_cast<size_t>(pool.size()), 1);
  std::atomic<uint64_t> sink{0};
  for (int run = 0; run < 6; ++run) {
    const Nanos start = clock.now();
    pool.run(pool.size(), [&](int task, int) {
      const uint64_t* at = data.data() + static_cast<size_t>(task) * words_per_thread;
      uint64_t a = 0, b = 0, c = 0, d = 0;
      for (size_t i = 0; i < words_per_thread; i += 32)
        for (size_t k = 0; k < 32; k += 4) a += at[i + k], b += at[i + k + 1], c += at[i + k + 2], d += at[i + k + 3];
      sink += a + b + c + d;
    });
    const double seconds = static_cast<double>(clock.now() - start) / 1e9;
    best = std::max(best, static_cast<double>(data.size()) * 8 / seconds / 1e9);
  }
  return best;
}

Roofline measure_roofline(const OpTable& table, ThreadPool& pool) {
  Roofline roofline;
  roofline.threads = pool.size();
  roofline.memory_gbps = measure_memory_gbps(pool);
  RealClock clock;
  auto measure = [&](const Peak& peak) {
    double best = 0;
    if (peak.run == nullptr) return best;
    constexpr int64_t kRounds = 4'000'000;
    for (int run = 0; run < 5; ++run) {
      std::atomic<int64_t> operations{0};
      const Nanos start = clock.now();
      pool.run(pool.size(), [&](int, int) { operations += peak.run(kRounds); });
      best = std::max(best, static_cast<double>(operations.load()) / static_cast<double>(clock.now() - start));
    }
    return best;
  };
  roofline.peaks = table.peaks();
  roofline.f32_gflops = measure(roofline.peaks.f32);
  roofline.bf16_gflops = measure(roofline.peaks.bf16);
  roofline.int8_gops = measure(roofline.peaks.int8);
  return roofline;
}

std::string to_text(const Roofline& r) {
  std::string text = fmt::format("roofline, {} threads: memory read {:.1f} GB/s", r.threads, r.memory_gbps);
  if (r.f32_gflops > 0)
    text += fmt::format(", f32 {:.0f} GFLOP/s, bf16 {:.0f} GFLOP/s, int8 {:.0f} GOP/s", r.f32_gflops, r.bf16_gflops,
                        r.int8_gops);
  return text + "\n";
}

double Roofline::peak(Arithmetic arithmetic) const {
  switch (arithmetic) {
    case Arithmetic::int8: return int8_gops;
    case Arithmetic::bf16: return bf16_gflops;
    case Arithmetic::f32: break;
  }
  return f32_gflops;
}

const char* name_of(Arithmetic arithmetic) {
  return arithmetic == Arithmetic::int8 ? "int8" : arithmetic == Arithmetic::bf16 ? "bf16" : "f32";
}

double StepDemand::seconds(const Roofline& r) const {
  const double memory = (weight_bytes + kv_bytes) / (r.memory_gbps * 1e9);
  return std::max(memory, r.*peak > 0 ? operations / (r.*peak * 1e9) : 0);
}

StepDemand step_demand(const ModelInfo& info, const TensorSource& source, double kv_bytes_per_token, double rows,
                       double sequences, double context, double logit_rows) {
  StepDemand demand;
  double matrix_elems = 0, head_elems = 0, quantized = 0, bf16 = 0;
  const double vocab_elems = static_cast<double>(info.vocab_size) * static_cast<double>(info.hidden);
  for (const TensorInfo& t : source.tensors()) {
    if (t.shape.rank != 2) continue;
    const bool vocabulary = static_cast<double>(t.shape.elems()) == vocab_elems;
    const bool head = t.name == info.head;
    if (vocabulary && !head) continue;  // the embedding is a gather
    if (head)
      head_elems = static_cast<double>(t.shape.elems());
    else
      matrix_elems += static_cast<double>(t.shape.elems());
    if (dtype_info(t.dtype).block_elems > 1) quantized += static_cast<double>(t.shape.elems());
    if (t.dtype == DType::bf16) bf16 += static_cast<double>(t.shape.elems());
    if (!head || logit_rows > 0) demand.weight_bytes += static_cast<double>(t.size_bytes);
  }
  demand.operations = 2 * (matrix_elems * rows + head_elems * logit_rows) +
                      4.0 * info.layers * info.heads * info.head_dim * context * rows;
  demand.kv_bytes = kv_bytes_per_token * (context * sequences + rows);
  const double half = 0.5 * (matrix_elems + head_elems);
  demand.peak = quantized > half ? &Roofline::int8_gops : bf16 > half ? &Roofline::bf16_gflops : &Roofline::f32_gflops;
  return demand;
}

}  // namespace sluice
