#include "apps/bench/bench.h"

#include <cstdio>
#include <cstdlib>
#include <limits>
#include <nlohmann/json.hpp>
#include <span>

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
    {"kv-disk", "how fast KV blocks go to disk and come back, beside plain direct I/O", bench_kv_disk},
    {"calibrate", "fit the simulator's step-time model to this machine and a model", bench_calibrate},
    {"batching", "continuous against static batching, on the engine and in the simulator", bench_batching},
    {"fidelity", "the simulator against the engine: workloads x policies, predicted and measured", bench_fidelity},
    {"attention", "one layer's attention over a long context, by KV format, depth and block size", bench_attention},
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
  struct Figure {
    const char *heading, *key;
    double Roofline::*value;
    int digits;
  };
  constexpr Figure kFigures[] = {{"read GB/s", "memory_gbps", &Roofline::memory_gbps, 1},
                                 {"f32 GFLOP/s", "f32_gflops", &Roofline::f32_gflops, 0},
                                 {"bf16 GFLOP/s", "bf16_gflops", &Roofline::bf16_gflops, 0},
                                 {"int8 GOP/s", "int8_gops", &Roofline::int8_gops, 0}};
  const std::span<const Figure> figures = std::span(kFigures).first(memory_only ? 1 : std::size(kFigures));
  std::string line = fmt::format("{:>8}", "threads");
  for (const Figure& f : figures) line += fmt::format(" {:>14}", f.heading);
  std::fputs((line + "\n").c_str(), stdout);
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const int n : counts) {
    ThreadPool pool(n);
    Roofline r;
    if (memory_only)
      r.memory_gbps = measure_memory_gbps(pool);
    else
      r = measure_roofline(*table, pool);
    nlohmann::ordered_json row = {{"backends", table->isa}, {"n_threads", n}};
    line = fmt::format("{:>8}", n);
    for (const Figure& f : figures) {
      const bool measured = r.*f.value > 0;  // not where the table has no such instructions
      line += measured ? fmt::format(" {:>14.{}f}", r.*f.value, f.digits) : fmt::format(" {:>14}", "-");
      if (measured) row[f.key] = r.*f.value;
    }
    std::fputs((line + "\n").c_str(), stdout);
    std::fflush(stdout);
    rows.push_back(std::move(row));
  }
  if (!memory_only) {
    const Peaks peaks = table->peaks();
    std::fputs(fmt::format("{}: f32 by {}; bf16 by {}; int8 by {}\n", table->isa, peaks.f32.instructions,
                           peaks.bf16.instructions, peaks.int8.instructions)
                   .c_str(),
               stdout);
  }
  if (!json_path.empty()) SLUICE_TRY_STATUS(write_text_file(json_path, rows.dump(2) + "\n"));
  return 0;
}

}  // namespace sluice
