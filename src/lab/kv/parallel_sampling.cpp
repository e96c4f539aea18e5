#include "lab/workloads.h"

namespace sluice::lab {
namespace {

Result<Finding> run_parallel_sampling(const Setting& setting) {
  SLUICE_TRY(const auto bench, Bench::open(setting));
  constexpr int kSamples = 8, kPrompt = 250, kOutput = 20;  // the prompt ends inside a block
  Rng rng(3);
  Request request = forced_request(random_tokens(rng, bench->vocab(), kPrompt), kOutput, 5);
  request.sampling.temperature = 1;
  request.n = kSamples;
  EngineOptions options = engine_options(512, 16 * 512);
  options.prefix_cache = "none";
  SLUICE_TRY(const Run together, bench->run(options, {{request}, {}}));
  Load apart;
  request.n = 1;
  for (int i = 0; i < kSamples; ++i) apart.requests.push_back(request);
  SLUICE_TRY(const Run alone, bench->run(options, apart));

  Finding f;
  f.must("the first sample is that of the request alone", together.outputs.at({0, 0}) == alone.outputs.at({0, 0}));
  int distinct = 0;
  for (int i = 1; i < kSamples; ++i) distinct += together.outputs.at({0, i}) != together.outputs.at({0, 0});
  f.must("samples differ", distinct == kSamples - 1, fmt::format("{} of {} others differ from the first", distinct, kSamples - 1));
  // Of the prompt's last position each sample computes its own, for logits of its own.
  f.must("the prompt is computed once", together.stats.prompt_tokens_computed <= kPrompt,
         fmt::format("{} prompt tokens computed", together.stats.prompt_tokens_computed));
  f.must("one block is copied for each sample but the first", together.stats.copied_blocks == kSamples - 1,
         fmt::format("{} blocks copied", together.stats.copied_blocks));
  const int shared = kPrompt / options.block_tokens, own = (kPrompt + kOutput + options.block_tokens - 1) / options.block_tokens - shared;
  f.must("memory is one prompt and n outputs, in whole blocks", together.peak_blocks <= shared + kSamples * own,
         fmt::format("{} blocks at most, {} allowed", together.peak_blocks, shared + kSamples * own));
  f.effect = {fmt::format("KV blocks of {} samples at the peak", kSamples), "", static_cast<double>(alone.peak_blocks),
              static_cast<double>(together.peak_blocks), Better::lower, false};
  f.count("prompt tokens computed", static_cast<double>(alone.stats.prompt_tokens_computed),
          static_cast<double>(together.stats.prompt_tokens_computed));
  return f;
}

}  // namespace

extern const Experiment kParallelSampling;
const Experiment kParallelSampling = {
    .name = "parallel-sampling",
    .ids = "V5 R12",
    .group = "kv",
    .technique = "Parallel sampling on shared blocks, copied on write",
    .paper = "Kwon et al., PagedAttention, SOSP 2023, 4.4",
    .file = "src/sched/parallel_sampling.h",
    .flag = "`n` of a request",
    .test = "`SamplesSharePromptBlocksAndCopyOnlyTheLast`, `tests/property`",
    .baseline = "n requests",
    .workload = "8 samples of one prompt of 250 tokens",
    .holds = "lossless: sample 0 as alone; prompt computed once; one copied block a sample",
    .run = run_parallel_sampling};

}  // namespace sluice::lab
