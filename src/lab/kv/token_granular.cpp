#include "lab/workloads.h"

namespace sluice::lab {
namespace {

Result<Finding> run_token_granular(const Setting& setting) {
  SLUICE_TRY(const auto bench, Bench::open(setting));
  const Load load = mixed_lengths(bench->vocab(), {.n = setting.quick ? 24 : 128, .prompt_mean = 60, .output_mean = 40, .output_most = 120});
  EngineOptions options = engine_options(256, 32 * 256);
  options.prefix_cache = "none";
  options.max_num_seqs = 16;
  SLUICE_TRY(const Run blocks, bench->run(options, load));
  options.block_tokens = 1;
  options.kv_blocks = 32 * 256;
  SLUICE_TRY(const Run tokens, bench->run(options, load));

  Finding f;
  std::string why;
  const bool same = same_outputs(blocks, tokens, &why);
  f.must("equal bits at block size 1 and 16", same, why);
  // At most 15 slots of each sequence's last block are idle.
  const double held = 16.0 * blocks.peak_blocks;
  f.must("blocks of 16 waste at most 15 slots a sequence", held - tokens.peak_blocks <= 15.0 * blocks.peak_running,
         fmt::format("{} and {} slots at the peak, {} sequences", held, tokens.peak_blocks, blocks.peak_running));
  f.effect = {"KV slots held at the peak", "", held, static_cast<double>(tokens.peak_blocks), Better::lower, false};
  const auto step_us = [](const Run& r) { return static_cast<double>(r.times.execute) / 1e3 / static_cast<double>(r.stats.steps); };
  f.count("us a step in the executor", step_us(blocks), step_us(tokens));
  return f;
}

}  // namespace

extern const Experiment kTokenGranular;
const Experiment kTokenGranular = {
    .name = "token-granular",
    .ids = "V3",
    .group = "kv",
    .technique = "Token-granular KV: a block is one token",
    .paper = "LightLLM, TokenAttention, 2023",
    .file = "src/kv/block_pool.h",
    .flag = "`--block-size 1`",
    .test = "`tests/exactness`, `tests/property`",
    .baseline = "blocks of 16 tokens",
    .workload = "24 requests of mixed lengths",
    .holds = "lossless: equal bits; no slot is held that no token needs",
    .run = run_token_granular};

}  // namespace sluice::lab
