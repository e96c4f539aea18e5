#include "lab/kv/retention_load.h"

namespace sluice::lab {
namespace {

Result<Finding> run(const Setting& setting) {
  SLUICE_TRY(const auto bench, Bench::open(setting));
  Finding f;
  const int output = setting.quick ? 60 : 200, context = std::min(bench->max_positions(), 2 * output + 40), budget = context / 3, n = 12;
  const Load load = mixed_lengths(bench->vocab(), {.n = n, .prompt_mean = context * 3 / 10, .output_mean = output / 2, .output_most = output, .seed = 8});
  // Room for what all of them keep: those that keep everything give way to each other.
  EngineOptions plain = engine_options(context, std::max(context, n * (budget + 16)));
  plain.prefix_cache = "none";
  SLUICE_TRY(const Run whole, bench->run(plain, load));
  std::string why;
  int most_preemptions = 0;
  for (const RetentionEntry& policy : retention_catalog()) {
    EngineOptions options = plain;
    options.kv_retention = policy.name;
    const bool evicts = policy.name != "none";
    if (evicts) options.retention.budget_tokens = context;
    SLUICE_TRY(const Run roomy, bench->run(options, load));
    const bool exact = same_outputs(whole, roomy, &why);
    f.must(fmt::format("{}: equal bits where nothing has to go", policy.name), exact, why);
    if (!evicts) continue;
    options.retention.budget_tokens = budget;
    SLUICE_TRY(const Run pressed, bench->run(options, load));
    EngineOptions alone = options;
    alone.max_num_seqs = 1;
    SLUICE_TRY(const Run one, bench->run(alone, load));
    const bool same = same_outputs(pressed, one, &why);
    f.must(fmt::format("{}: equal bits in a batch and one at a time", policy.name), same && pressed.stats.kv_evictions > 0, why);
    f.count(fmt::format("{}: preemptions, and tokens let go of", policy.name), static_cast<double>(pressed.stats.preemptions), static_cast<double>(pressed.stats.kv_evicted_tokens));
    most_preemptions = std::max(most_preemptions, static_cast<int>(pressed.stats.preemptions));
  }
  f.effect = {"sequences preempted for want of blocks, at most of all policies", "", static_cast<double>(whole.stats.preemptions), static_cast<double>(most_preemptions), Better::lower, false};
  if (whole.stats.preemptions == 0) f.absent("nobody is preempted without retention either (0)");
  return f;
}

}  // namespace

extern const Experiment kRetentionSwap;
const Experiment kRetentionSwap = {
    .name = "retention-interface",
    .ids = "W6",
    .group = "kv",
    .technique = "One interface for what stays (worth, protected slots), the policy by configuration",
    .paper = "-",
    .file = "src/kv/retention/kv_retention.h",
    .flag = "`--kv-retention NAME`",
    .test = "`tests/exactness`, `tests/property`",
    .baseline = "every token kept, in a pool in which sequences give way",
    .workload = "12 sequences of mixed lengths; budgets of a third of the context, and of all of it",
    .holds = "the policy that does nothing, and any with room for all, are exact",
    .run = run};

}  // namespace sluice::lab
