#include "lab/workloads.h"

namespace sluice::lab {
namespace {

Result<Finding> run_radix(const Setting& setting, const char* cache) {
  SLUICE_TRY(const auto bench, Bench::open(setting));
  const int prefix = std::min(bench->max_positions() - 64, 2000) / 16 * 16, n = setting.quick ? 6 : 32;
  // One after the other, since what is asked is what the later ones gain.
  Load load = shared_prefix(bench->vocab(), n, prefix, 16, 4);
  EngineOptions options = engine_options(prefix + 64, n * (prefix + 64));
  options.max_num_seqs = 1;
  options.prefix_cache = "none";
  SLUICE_TRY(const Run without, bench->run(options, load));
  options.prefix_cache = cache;
  SLUICE_TRY(const Run with, bench->run(options, load));

  Finding f;
  std::string why;
  const bool same = same_outputs(without, with, &why);
  f.must("the same tokens and logprob bits as without a cache", same, why);
  f.must("every later request finds the whole shared prefix", with.stats.prefix_hits_tokens == static_cast<uint64_t>((n - 1) * prefix),
         fmt::format("{} of {} tokens", with.stats.prefix_hits_tokens, (n - 1) * prefix));
  // From its turn to its first token: the queue before it is not its own.
  const auto turn_ms = [](const Run& run) {
    std::vector<double> ms;
    for (size_t i = 1; i < run.records.size(); ++i)
      ms.push_back(static_cast<double>(run.records[i].token_times.front() - run.records[i - 1].token_times.back()) / 1e6);
    return spread_of(std::move(ms)).median;
  };
  f.effect = {fmt::format("from its turn to its first token, median of {} later requests", n - 1), "ms", turn_ms(without), turn_ms(with),
              Better::lower, true};
  f.count("prompt tokens computed", static_cast<double>(without.stats.prompt_tokens_computed),
          static_cast<double>(with.stats.prompt_tokens_computed));
  return f;
}

}  // namespace

extern const Experiment kRadix, kHashChain;
const Experiment kRadix = {
    .name = "radix",
    .ids = "V7",
    .group = "kv",
    .technique = "RadixAttention: a radix tree of prefixes, leaves evicted least recently used first",
    .paper = "Zheng et al., SGLang, NeurIPS 2024",
    .file = "src/kv/prefix/radix_tree.cpp",
    .flag = "`--prefix-cache radix` (default)",
    .test = "`src/kv/prefix/prefix_cache_test.cpp`",
    .baseline = "no prefix cache",
    .workload = "prompts that share 2,000 tokens, one after the other",
    .holds = "lossless: equal bits; the longest common prefix is found (brute force in the test)",
    .run = [](const Setting& setting) { return run_radix(setting, "radix"); }};
const Experiment kHashChain = {
    .name = "hash-chain",
    .ids = "V10",
    .group = "kv",
    .technique = "Prefix cache as a hash chain of full blocks",
    .paper = "Kwon et al., PagedAttention, SOSP 2023, 4.4, as vLLM has it",
    .file = "src/kv/prefix/hash_chain.cpp",
    .flag = "`--prefix-cache hash`",
    .test = "`src/kv/prefix/prefix_cache_test.cpp` (the same hits as the radix tree)",
    .baseline = "no prefix cache",
    .workload = "prompts that share 2,000 tokens, one after the other",
    .holds = "lossless: equal bits; tokens are compared, a hash alone makes no hit",
    .run = [](const Setting& setting) { return run_radix(setting, "hash"); }};

}  // namespace sluice::lab
