#include "lab/workloads.h"

namespace sluice::lab {
namespace {

Result<Finding> run_exact_admission(const Setting& setting) {
  constexpr int kVocab = 32'000;
  const Load load = mixed_lengths(kVocab, {.n = setting.quick ? 300 : 3000, .prompt_mean = 100, .output_mean = 200, .output_most = 800});
  EngineOptions options = engine_options(1024, 8 * 1024);
  options.max_num_seqs = 128;
  options.admission_policy = "watermark";
  SLUICE_TRY(const Run watermark, simulate(options, load));
  options.admission_policy = "reserve";
  SLUICE_TRY(const Run reserve, simulate(options, load));
  options.admission_policy = "exact";
  SLUICE_TRY(const Run exact, simulate(options, load));

  Finding f;
  std::string why;
  f.must("the same outputs as with full lengths reserved", same_outputs(reserve, exact, &why), why);
  f.must("nobody is preempted", exact.stats.preemptions + reserve.stats.preemptions == 0,
         fmt::format("{} by exact, {} by reserve", exact.stats.preemptions, reserve.stats.preemptions));
  f.must("where the watermark alone preempts", watermark.stats.preemptions > 0, fmt::format("{} times", watermark.stats.preemptions));
  f.must("more sequences run at once than if full lengths are reserved", exact.mean_running() > reserve.mean_running(),
         fmt::format("{:.1f} and {:.1f} on average", reserve.mean_running(), exact.mean_running()));
  // A long prefix that all share counts once.
  const int prefix = 1024;
  Load sharing = shared_prefix(kVocab, 64, prefix, 16, 64);
  for (size_t i = 0; i < sharing.requests.size(); ++i) sharing.arrivals.push_back(static_cast<Nanos>(i) * 100'000'000);
  options.max_model_len = 2048;
  SLUICE_TRY(const Run shared, simulate(options, sharing));
  const double whole = static_cast<double>(options.kv_blocks * options.block_tokens) / (prefix + 16 + 64);
  f.must("with a prefix that all share, more run at once than the pool has room for alone, and nobody is preempted", shared.mean_running() > whole && shared.stats.preemptions == 0,
         fmt::format("{:.1f} on average, room for {:.1f} of {} tokens, {} preemptions", shared.mean_running(), whole, prefix + 80, shared.stats.preemptions));
  f.effect = {"simulated output throughput, full lengths reserved and exact", "tok/s", reserve.report.output_throughput,
              exact.report.output_throughput, Better::higher, false};
  f.count("sequences that run, on average", reserve.mean_running(), exact.mean_running());
  f.count("preemptions under watermark, and exact", static_cast<double>(watermark.stats.preemptions), static_cast<double>(exact.stats.preemptions));
  f.count("tokens computed again under watermark, and exact", static_cast<double>(watermark.stats.tokens_recomputed), static_cast<double>(exact.stats.tokens_recomputed));
  f.count("output tok/s under watermark, and exact", watermark.report.output_throughput, exact.report.output_throughput);
  return f;
}

}  // namespace

extern const Experiment kExactAdmission;
const Experiment kExactAdmission = {
    .name = "exact-admission",
    .ids = "B10 H2",
    .group = "scheduling",
    .technique = "Exact admission by the future peak of memory",
    .paper = "Gong et al., LightLLM's Past-Future Scheduler, ASPLOS 2025",
    .file = "src/sched/gate/exact.h",
    .flag = "`--admission-policy exact`",
    .test = "`src/sched/gate/future_peak_test.cpp` (the peak by brute force), `tests/property`",
    .baseline = "`--admission-policy reserve`: prompt and max_tokens of all (Orca), and `watermark`",
    .workload = "simulated, 300 requests at once with exponential output lengths, a pool of 8,192 tokens",
    .holds = "lossless; no preemption while lengths stay below max_tokens; more run at once than with full lengths reserved",
    .run = run_exact_admission};

}  // namespace sluice::lab
