#include <bit>

#include "lab/workloads.h"

namespace sluice::lab {
namespace {

double sum_of(const SampleOutput& output) {
  double sum = 0;
  for (const uint32_t bits : output.logprob_bits) sum += static_cast<double>(std::bit_cast<float>(bits));
  return sum;
}

Result<Finding> run_beam_search(const Setting& setting) {
  SLUICE_TRY(const auto bench, Bench::open(setting));
  const int kWidth = 8, kPrompt = 200, kOutput = setting.quick ? 48 : 200;
  Rng rng(9);
  const Request greedy = forced_request(random_tokens(rng, bench->vocab(), kPrompt), kOutput);
  Request one = greedy, beams = greedy;
  one.beam_width = 1;
  beams.beam_width = kWidth;
  EngineOptions options = engine_options(kPrompt + kOutput + 16, kWidth * (kPrompt + kOutput + 16));
  options.prefix_cache = "none";
  SLUICE_TRY(const Run alone, bench->run(options, {{greedy}, {}}));
  SLUICE_TRY(const Run single, bench->run(options, {{one}, {}}));
  SLUICE_TRY(const Run search, bench->run(options, {{beams}, {}}));
  EngineOptions tight = options;
  tight.kv_blocks = (kPrompt + kOutput + 15) / 16 + 2;
  tight.max_model_len = kPrompt + kOutput;
  SLUICE_TRY(const Run squeezed, bench->run(tight, {{beams}, {}}));

  Finding f;
  std::string why;
  const bool equals_greedy = same_outputs(alone, single, &why);
  f.must("one beam is greedy decoding, to the bit", equals_greedy, why);
  const bool preempted = same_outputs(search, squeezed, &why);
  f.must("equal beams where they are preempted for want of blocks", preempted,
         fmt::format("{}, {} preemptions", why, squeezed.stats.preemptions));
  f.must("they were preempted", squeezed.stats.preemptions > 0);
  const double single_blocks = static_cast<double>(alone.peak_blocks);
  f.must("peak KV below half of so many sequences apart", search.peak_blocks < 0.5 * kWidth * single_blocks,
         fmt::format("{} blocks, one sequence {}", search.peak_blocks, single_blocks));
  f.must("no beam computes its prompt again", search.stats.prompt_tokens_computed == static_cast<uint64_t>(kPrompt),
         fmt::format("{} prompt tokens computed", search.stats.prompt_tokens_computed));
  f.effect = {fmt::format("KV blocks of {} beams at the peak, against sequences apart", kWidth),
              "",
              kWidth * single_blocks,
              static_cast<double>(search.peak_blocks),
              Better::lower,
              false};
  f.count("log-probability of the answer", sum_of(alone.outputs.at({0, 0})), sum_of(search.outputs.at({0, 0})));
  f.count("blocks copied on write", 0, static_cast<double>(search.stats.copied_blocks));
  return f;
}

}  // namespace

extern const Experiment kBeamSearch;
const Experiment kBeamSearch = {
    .name = "beam-search",
    .ids = "R11",
    .group = "kv",
    .technique = "Beam search on shared blocks, copied where beams part",
    .paper = "Wu et al., GNMT, 2016 (length normalisation); Kwon et al., PagedAttention, SOSP 2023, 4.4",
    .file = "src/sched/beam_search.cpp",
    .flag = "`use_beam_search`, `best_of`, `length_penalty` of a request",
    .test = "`tests/exactness` (against exhaustive search), `tests/property`",
    .baseline = "as many sequences apart; greedy decoding for equality and score",
    .workload = "8 beams of a prompt of 200 tokens",
    .holds = "one beam equals greedy; equal beams under preemption; KV well below w sequences",
    .run = run_beam_search};

}  // namespace sluice::lab
