#include "apps/bench/bench.h"

#include <cstdio>

#include "apps/bench/roofline.h"
#include "apps/catalog_help.h"
#include "base/machine.h"
#include "base/options.h"

namespace sluice {

namespace {
constexpr Command kBenchmarks[] = {
    {"latency", "prefill and decode speed of one model, llama-bench style (pp512, tg128, at depth)", bench_latency},
    {"throughput", "the engine offline: a workload as fast as it goes, without HTTP", bench_throughput},
    {"serve", "load test of any OpenAI server; vLLM's report", bench_serve},
    {"roofline", "what this machine can do: memory bandwidth and arithmetic peaks", bench_roofline},
    {"calibrate", "fit the simulator's step-time model to this machine and a model", bench_calibrate},
    {"batching", "continuous against static batching, on the engine and in the simulator", bench_batching},
};
}  // namespace

Result<int> bench_main(const std::vector<std::string>& args) {
  if (OptionSet::noting_variables()) {
    for (const Command& benchmark : kBenchmarks) (void)benchmark.main({});
    return 0;
  }
  const bool help = !args.empty() && (args[0] == "--help" || args[0] == "-h");
  for (const Command& benchmark : kBenchmarks)
    if (!args.empty() && args[0] == benchmark.name) return benchmark.main({args.begin() + 1, args.end()});
  std::string text = "Benchmarks.\n\nusage: sluice bench BENCHMARK [flags]\n\n";
  for (const Command& benchmark : kBenchmarks) text += fmt::format("  {:<12} {}\n", benchmark.name, benchmark.help);
  if (help) {
    std::fputs(text.c_str(), stdout);
    return 0;
  }
  return invalid_argument(
      (args.empty() ? std::string("which benchmark?") : fmt::format("there is no benchmark '{}'", args[0])) + "\n\n" +
      text);
}

Result<int> bench_roofline(const std::vector<std::string>& args) {
  int threads = 0;
  std::string isa;
  OptionSet options("sluice bench roofline", "Measures what this machine can do at most.");
  options.add("-t,--threads", threads, "threads; 0: the cores that this process may use");
  options.add("--isa", isa,
              catalog_help("kernel table whose instructions are measured; the best here when absent", op_tables()));
  SLUICE_TRY(const auto outcome, options.parse(args));
  if (outcome == OptionSet::Outcome::done) return 0;
  if (threads < 0 || threads > 1024)
    return invalid_argument(fmt::format("--threads is {}; it must be from 0 to 1024", threads), "--threads");
  SLUICE_TRY(const OpTable* table, select_op_table(isa));
  std::vector<int> counts{1};
  const int all = threads > 0 ? threads : usable_cores();
  if (all > 1) counts.push_back(all);
  std::fputs(fmt::format("{:>8} {:>14} {:>14} {:>14} {:>14}\n", "threads", "read GB/s", "f32 GFLOP/s", "bf16 GFLOP/s",
                         "int8 GOP/s")
                 .c_str(),
             stdout);
  for (const int n : counts) {
    ThreadPool pool(n);
    const Roofline r = measure_roofline(*table, pool);
    std::fputs(fmt::format("{:>8} {:>14.1f} {:>14.0f} {:>14.0f} {:>14.0f}\n", n, r.memory_gbps, r.f32_gflops,
                           r.bf16_gflops, r.int8_gops)
                   .c_str(),
               stdout);
    std::fflush(stdout);
  }
  const Peaks peaks = table->peaks();
  std::fputs(fmt::format("{}: f32 by {}; bf16 by {}; int8 by {}\n", table->isa, peaks.f32.instructions,
                         peaks.bf16.instructions, peaks.int8.instructions)
                 .c_str(),
             stdout);
  return 0;
}

}  // namespace sluice
