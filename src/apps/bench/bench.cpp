#include "apps/bench/bench.h"

#include <cstdio>
#include <cstdlib>
#include <limits>
#include <nlohmann/json.hpp>

#include "apps/bench/roofline.h"
#include "apps/catalog_help.h"
#include "apps/text_file.h"
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
    {"quality", "what quantized arithmetic costs: a text's likelihood against exact arithmetic", bench_quality},
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

Result<std::vector<int>> parse_numbers(const std::vector<std::string>& texts, const char* flag, int low) {
  std::vector<int> out;
  for (const std::string& text : texts) {
    const int value = std::atoi(text.c_str());
    if (value < low || std::to_string(value) != text)
      return invalid_argument(fmt::format("{} '{}': numbers of at least {} are wanted", flag, text, low), flag);
    out.push_back(value);
  }
  return out;
}

Result<int> bench_roofline(const std::vector<std::string>& args) {
  std::vector<std::string> threads;
  std::string isa, json_path;
  bool memory_only = false;
  OptionSet options("sluice bench roofline", "Measures what this machine can do at most.");
  options.add("-t,--threads", threads, "threads, a list; 0: the cores that this process may use; one and those when absent");
  options.add("--isa", isa,
              catalog_help("kernel table whose instructions are measured; the best here when absent", op_tables()));
  options.add("--memory-only", memory_only, "measure reading only, which takes a fraction of a second");
  options.add("--json", json_path, "write the figures to this file too");
  SLUICE_TRY(const auto outcome, options.parse(args));
  if (outcome == OptionSet::Outcome::done) return 0;
  SLUICE_TRY(std::vector<int> counts, parse_numbers(threads, "--threads", std::numeric_limits<int>::min()));
  for (int& n : counts) {
    if (n < 0 || n > 1024)
      return invalid_argument(fmt::format("--threads is {}; it must be from 0 to 1024", n), "--threads");
    if (n == 0) n = usable_cores();
  }
  if (counts.empty()) {
    counts.push_back(1);
    if (usable_cores() > 1) counts.push_back(usable_cores());
  }
  SLUICE_TRY(const OpTable* table, select_op_table(isa));
  std::fputs(fmt::format("{:>8} {:>14} {:>14} {:>14} {:>14}\n", "threads", "read GB/s", "f32 GFLOP/s", "bf16 GFLOP/s",
                         "int8 GOP/s")
                 .c_str(),
             stdout);
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const int n : counts) {
    ThreadPool pool(n);
    Roofline r;
    if (memory_only) r.memory_gbps = measure_memory_gbps(pool);
    else r = measure_roofline(*table, pool);
    std::fputs(fmt::format("{:>8} {:>14.1f} {:>14.0f} {:>14.0f} {:>14.0f}\n", n, r.memory_gbps, r.f32_gflops,
                           r.bf16_gflops, r.int8_gops)
                   .c_str(),
               stdout);
    std::fflush(stdout);
    rows.push_back({{"backends", table->isa},
                    {"n_threads", n},
                    {"memory_gbps", r.memory_gbps},
                    {"f32_gflops", r.f32_gflops},
                    {"bf16_gflops", r.bf16_gflops},
                    {"int8_gops", r.int8_gops}});
  }
  const Peaks peaks = table->peaks();
  std::fputs(fmt::format("{}: f32 by {}; bf16 by {}; int8 by {}\n", table->isa, peaks.f32.instructions,
                         peaks.bf16.instructions, peaks.int8.instructions)
                 .c_str(),
             stdout);
  if (!json_path.empty()) SLUICE_TRY_STATUS(write_text_file(json_path, rows.dump(2) + "\n"));
  return 0;
}

}  // namespace sluice
