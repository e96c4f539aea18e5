#include <algorithm>
#include <cmath>

#include "lab/workloads.h"

namespace sluice::lab {
namespace {

/// Lengths as of a chat service: short prompts, outputs twice as long with a tail; or those of the trace.
Result<Load> chat(const Setting& setting) {
  const int n = setting.quick ? 300 : 2000;
  if (setting.trace.empty())
    return mixed_lengths(32'000, {.n = n, .prompt_mean = 160, .output_mean = 320, .output_most = 1500});
  SLUICE_TRY(Load load, trace_load(setting.trace, 32'000, {.limit = n, .max_prompt_tokens = 4096, .max_output_tokens = 2048}));
  load.arrivals.clear();  // all at once
  return load;
}

/// KV slots times time over all requests, from each one's first token to its last.
struct Waste {
  double used = 0;         // hold a token
  double reservation = 0;  // wait for one that will come
  double internal = 0;     // wait for one that never comes

  double held() const { return used + reservation + internal; }
};

/// `slots_of` a length: what a sequence holds then.
template <class SlotsOf>
Waste waste_of(const Run& run, SlotsOf slots_of) {
  Waste waste;
  for (const RequestRecord& r : run.records) {
    const int end = r.prompt_tokens + static_cast<int>(r.token_times.size());
    for (size_t i = 1; i < r.token_times.size(); ++i) {
      const double time = static_cast<double>(r.token_times[i] - r.token_times[i - 1]) / 1e9;
      const int used = r.prompt_tokens + static_cast<int>(i), held = slots_of(used);
      waste.used += time * used;
      waste.reservation += time * (std::min(end, held) - used);
      waste.internal += time * std::max(0, held - end);
    }
  }
  return waste;
}

Result<Finding> run_paged(const Setting& setting) {
  SLUICE_TRY(const Load load, chat(setting));
  int longest = 2048;
  for (const Request& r : load.requests) longest = std::max(longest, static_cast<int>(r.prompt.size()) + r.max_tokens);
  EngineOptions options = engine_options(longest, 16 * longest + longest / 2);
  options.prefix_cache = "none";
  options.max_num_seqs = 1024;
  options.chunk_policy = "prefill-first";  // so that memory is the bound, not how fast prompts are computed
  options.max_num_batched_tokens = 8192;
  options.kv_allocator = "static";
  SLUICE_TRY(const Run fixed, simulate(options, load));
  options.kv_allocator = "paged";
  SLUICE_TRY(const Run paged, simulate(options, load));

  Finding f;
  f.must("every request is served under both", fixed.failed() + paged.failed() == 0);
  const int slot = (longest + 15) / 16 * 16;
  const Waste before = waste_of(fixed, [&](int) { return slot; });
  const Waste after = waste_of(paged, [](int used) { return (used + 15) / 16 * 16; });
  f.must("paged wastes below 4 % of what is held", after.used > 0.96 * after.held(),
         fmt::format("{:.2f} %", 100 * (1 - after.used / after.held())));
  if (paged.peak_blocks < 0.9 * options.kv_blocks)
    f.absent(fmt::format("memory is not the bound: paging held {} of {} blocks at the peak", paged.peak_blocks,
                         options.kv_blocks));
  else
    f.must("paging holds at least twice the sequences", paged.peak_running >= 2 * fixed.peak_running,
           fmt::format("{} and {} at the peak", fixed.peak_running, paged.peak_running));

  // The same requests on the model: equal bits, and what tables cost the kernels.
  SLUICE_TRY(const auto bench, Bench::open(setting));
  const Load small = mixed_lengths(
      bench->vocab(), {.n = setting.quick ? 24 : 128, .prompt_mean = 60, .output_mean = 40, .output_most = 120});
  EngineOptions few = engine_options(256, 12 * 256);
  few.prefix_cache = "none";
  few.max_num_seqs = 12;
  SLUICE_TRY(const Run tables, bench->run(few, small));
  few.kv_allocator = "static";
  SLUICE_TRY(const Run contiguous, bench->run(few, small));
  std::string why;
  const bool same = same_outputs(contiguous, tables, &why);
  f.must("equal bits in contiguous slots and in scattered blocks", same, why);

  f.effect = {"sequences at once in the same memory, at the peak",
              "",
              static_cast<double>(fixed.peak_running),
              static_cast<double>(paged.peak_running),
              Better::higher,
              false};
  const auto percent = [](double part, const Waste& w) { return 100 * part / w.held(); };
  f.count("held slots that hold a token, %", percent(before.used, before), percent(after.used, after));
  f.count("that wait for a token to come (reservation), %", percent(before.reservation, before),
          percent(after.reservation, after));
  f.count("that no token comes to (internal), %", percent(before.internal, before), percent(after.internal, after));
  const double pool = 16.0 * options.kv_blocks;
  f.count("of the pool, fits no further context (external), %", 100 * std::fmod(pool, slot) / pool, 0);
  f.count("simulated output tok/s", fixed.report.output_throughput, paged.report.output_throughput);
  const auto rate = [](const Run& r) { return r.attention_bytes / static_cast<double>(r.attention_ns); };
  f.count("GB/s of attention on this model (timed)", rate(contiguous), rate(tables));
  return f;
}

}  // namespace

extern const Experiment kPaged;
const Experiment kPaged = {
    .name = "paged",
    .ids = "V1 V2",
    .group = "kv",
    .technique = "PagedAttention: blocks as they are needed, against a reserved context per request",
    .paper = "Kwon et al., PagedAttention, SOSP 2023",
    .file = "src/kv/allocator/paged.h",
    .flag = "`--kv-allocator paged` (default); the baseline is `static`",
    .test = "`tests/property`, `tests/exactness`, `src/kv/allocator/kv_allocator_test.cpp`",
    .baseline = "static pre-allocation of a whole context (`src/kv/allocator/static_slots.h`)",
    .workload = "simulated chat lengths (or `--trace`) in a pool of 16.5 contexts of 2,048; 24 requests on the model",
    .holds = "lossless: equal bits; twice the sequences; below 4 % waste",
    .run = run_paged,
    .reads_trace = true};

}  // namespace sluice::lab
