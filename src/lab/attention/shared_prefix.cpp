#include "lab/workloads.h"

namespace sluice::lab {
namespace {

Result<Finding> run_shared_prefix(const Setting& setting) {
  SLUICE_TRY(const auto bench, Bench::open(setting));
  const int prefix = std::min(bench->max_positions() - 128, 1792) / 256 * 256, n = 16, output = setting.quick ? 16 : 64;
  if (prefix < 512) {
    Finding f;
    f.absent(fmt::format("this model's context of {} leaves no room for a shared prefix", bench->max_positions()));
    return f;
  }
  const Load load = shared_prefix(bench->vocab(), n, prefix, 16, output);
  EngineOptions options = engine_options(prefix + 128, n * (prefix + 128));
  options.max_num_batched_tokens = 4096;
  options.prefix_cache = "none";
  SLUICE_TRY(const Run apart, bench->run(options, load));
  options.prefix_cache = "radix";
  SLUICE_TRY(const Run together, bench->run(options, load));

  Finding f;
  std::string why;
  const bool same = same_outputs(apart, together, &why);
  f.must("equal bits, shared or not", same, why);
  f.must("keys and values of the prefix are read once a step", together.attention_bytes < apart.attention_bytes / 4,
         fmt::format("{:.1f} and {:.1f} MB", together.attention_bytes / 1e6, apart.attention_bytes / 1e6));
  f.effect = {fmt::format("KV that attention reads, {} sequences over {} shared tokens", n, prefix), "MB",
              apart.attention_bytes / 1e6, together.attention_bytes / 1e6, Better::lower, false};
  f.count("ms in attention", static_cast<double>(apart.attention_ns) / 1e6, static_cast<double>(together.attention_ns) / 1e6);
  f.count("median TPOT, ms", apart.report.tpot_ms.median, together.report.tpot_ms.median);
  return f;
}

}  // namespace

extern const Experiment kSharedAttention;
const Experiment kSharedAttention = {
    .name = "shared-attention",
    .ids = "F7",
    .group = "attention",
    .technique = "Shared prefixes read once a step for all their sequences",
    .paper = "Juravsky et al. (Hydragen), 2024; Ye et al. (ChunkAttention), ACL 2024",
    .file = "src/backend/shared_prefix.h",
    .flag = "with any `--prefix-cache`, and `n` of a request",
    .test = "`src/backend/shared_prefix_test.cpp`, `SharedPrefixesAreReadTogether`",
    .baseline = "every sequence has and reads its own copy",
    .workload = "16 prompts that share up to 1,792 tokens, decoded together",
    .holds = "lossless: equal bits; bytes of the shared part do not grow with the sequences",
    .run = run_shared_prefix};

}  // namespace sluice::lab
