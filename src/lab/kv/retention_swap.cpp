#include "lab/kv/retention_load.h"

namespace sluice::lab {
namespace {

Result<Finding> run_retention_swap(const Setting& setting) {
  SLUICE_TRY(const auto bench, Bench::open(setting));
  Finding f;
  const int output = setting.quick ? 60 : 200, most_prompt = 60, context = most_prompt + output, budget = 48, n = 12;
  Rng rng(8);
  Load load;
  for (int i = 0; i < n; ++i)
    load.requests.push_back(forced_request(random_tokens(rng, bench->vocab(), static_cast<int>(rng.between(40, most_prompt))), output, static_cast<uint64_t>(i)));
  // Room for what all of them keep: those that keep everything give way to each other.
  EngineOptions plain = engine_options(context, std::max(context, n * budget + 64));
  plain.prefix_cache = "none";
  SLUICE_TRY(const Run whole, bench->run(plain, load));
  std::string why;
  uint64_t most_computed = 0, most_preemptions = 0;
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
    f.count(fmt::format("tokens let go of, {} with room for all and pressed", policy.name), static_cast<double>(roomy.stats.kv_evicted_tokens), static_cast<double>(pressed.stats.kv_evicted_tokens));
    most_computed = std::max(most_computed, pressed.stats.step_tokens);
    most_preemptions = std::max(most_preemptions, pressed.stats.preemptions);
  }
  f.effect = {"positions computed, those after a preemption again", "", static_cast<double>(whole.stats.step_tokens), static_cast<double>(most_computed), Better::lower, false};
  f.count("sequences preempted for want of blocks, keeping everything and at most of all policies", static_cast<double>(whole.stats.preemptions), static_cast<double>(most_preemptions));
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
    .workload = "12 sequences of about 110 tokens in a pool of 640; budgets of 48 tokens, and of the whole context",
    .holds = "the policy that does nothing, and any with room for all, are exact",
    .run = run_retention_swap};

}  // namespace sluice::lab
