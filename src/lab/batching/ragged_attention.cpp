#include "lab/workloads.h"

namespace sluice::lab {
namespace {

/// Prompts of these lengths, each with the same number of outputs.
Load prompts(int64_t vocab, const std::vector<int>& lengths, int output_tokens) {
  Rng rng(7);
  Load load;
  for (const int n : lengths) load.requests.push_back(forced_request(random_tokens(rng, vocab, n), output_tokens, load.requests.size()));
  return load;
}

Result<Finding> run_ragged_attention(const Setting& setting) {
  SLUICE_TRY(const auto bench, Bench::open(setting));
  constexpr int kShort = 32, kOthers = 15;
  const int output = setting.quick ? 24 : 64, longest = std::min(1024, bench->max_positions() - output);
  EngineOptions options = engine_options(longest + output, (kOthers + 1) * (longest + output));
  options.prefix_cache = "none";
  const std::vector<int> others(kOthers, kShort);
  std::vector<int> mixed = others;
  mixed.push_back(longest);
  SLUICE_TRY(const Run together, bench->run(options, prompts(bench->vocab(), mixed, output)));
  SLUICE_TRY(const Run short_ones, bench->run(options, prompts(bench->vocab(), others, output)));
  SLUICE_TRY(const Run long_one, bench->run(options, prompts(bench->vocab(), {longest}, output)));
  SLUICE_TRY(const Run all_long, bench->run(options, prompts(bench->vocab(), std::vector<int>(kOthers + 1, longest), output)));

  Finding f;
  const double apart = short_ones.attention_bytes + long_one.attention_bytes;
  // A prompt beside decodes is computed in chunks, each of which reads what lies before it.
  f.must("a batch of mixed lengths reads what its members read apart", together.attention_bytes < 1.1 * apart && together.attention_bytes > 0.9 * apart,
         fmt::format("{:.2f} MB together, {:.2f} MB apart", together.attention_bytes / 1e6, apart / 1e6));
  f.must("every request is served", together.failed() + short_ones.failed() + long_one.failed() + all_long.failed() == 0);
  f.effect = {fmt::format("KV that attention reads, 16 sequences as long as the longest ({}) and as they are", longest), "MB",
              all_long.attention_bytes / 1e6, together.attention_bytes / 1e6, Better::lower, false};
  f.count("ms in attention", static_cast<double>(all_long.attention_ns) / 1e6, static_cast<double>(together.attention_ns) / 1e6);
  return f;
}

}  // namespace

extern const Experiment kRaggedAttention;
const Experiment kRaggedAttention = {
    .name = "ragged-attention",
    .ids = "B4",
    .group = "batching",
    .technique = "Batched attention over sequences of different lengths",
    .paper = "Kwon et al., PagedAttention, SOSP 2023",
    .file = "src/backend/attend.cpp",
    .flag = "always",
    .test = "`src/backend/attend_test.cpp`, `tests/exactness`",
    .baseline = "16 sequences padded to the longest",
    .workload = "15 prompts of 32 tokens and one of up to 1,024, decoded together",
    .holds = "lossless; cost by the sum of lengths, not by the longest",
    .run = run_ragged_attention};

}  // namespace sluice::lab
