#include "lab/scheduling/measures.h"

namespace sluice::lab {
namespace {

constexpr int kRoot = 256, kBranch = 256, kLeaf = 32, kOutput = 8;

/// A tree of prompts: subjects that share nothing, branches that share a subject, and leaves that share a branch.
Load prompt_tree(int subjects, int branches, int leaves) {
  Rng rng(5);
  Load load;
  for (int s = 0; s < subjects; ++s) {
    const std::vector<TokenId> root = random_tokens(rng, kSimulatedVocab, kRoot);
    for (int b = 0; b < branches; ++b) {
      std::vector<TokenId> stem = root;
      const std::vector<TokenId> branch = random_tokens(rng, kSimulatedVocab, kBranch);
      stem.insert(stem.end(), branch.begin(), branch.end());
      for (int l = 0; l < leaves; ++l) {
        std::vector<TokenId> prompt = stem;
        const std::vector<TokenId> leaf = random_tokens(rng, kSimulatedVocab, kLeaf);
        prompt.insert(prompt.end(), leaf.begin(), leaf.end());
        load.requests.push_back(forced_request(std::move(prompt), kOutput, load.requests.size()));
      }
    }
  }
  return load;
}

Load shuffled(Load load) {
  Rng rng(6);
  for (size_t i = load.requests.size(); i > 1; --i) std::swap(load.requests[i - 1], load.requests[rng.below(i)]);
  return load;
}

double hit_share(const Run& run) {
  return 100.0 * static_cast<double>(run.stats.prefix_hits_tokens) / static_cast<double>(run.stats.prefix_queries_tokens);
}

Result<Finding> run_longest_prefix(const Setting& setting) {
  const int subjects = 8, branches = 4, leaves = setting.quick ? 4 : 16;
  const Load tree = prompt_tree(subjects, branches, leaves), mixed = shuffled(tree);
  // The cache holds two subjects of the eight, beside those that run.
  EngineOptions options = engine_options(1024, 2 * (kRoot + branches * kBranch) + 4 * (kLeaf + kOutput));
  options.max_num_seqs = 4;
  SLUICE_TRY(const Run fcfs, simulate(options, mixed));
  SLUICE_TRY(const Run depth_first, simulate(options, tree));
  options.scheduling_policy = "lpm";
  options.aging_ms = 1e9;
  SLUICE_TRY(const Run lpm, simulate(options, mixed));

  Finding f;
  std::string why;
  const bool same = same_outputs(fcfs, lpm, &why);
  f.must("the same outputs in any order", same, why);
  const int all = subjects * branches * leaves * (kRoot + kBranch + kLeaf);
  const int distinct = subjects * (kRoot + branches * (kBranch + leaves * kLeaf));
  const double best = 100.0 * (all - distinct) / all;
  f.must("within 5 % of the most that any order and any cache can hit", hit_share(lpm) >= 0.95 * best,
         fmt::format("{:.1f} of {:.1f} %", hit_share(lpm), best));

  // A stream of hits that alone fills the machine, and strangers among it.
  Load stream = prompt_tree(1, 1, setting.quick ? 300 : 3000), strangers = mixed_lengths(kSimulatedVocab, {.n = 12, .prompt_mean = 64, .output_mean = 8, .rate = 1, .seed = 9});
  for (size_t i = 0; i < stream.requests.size(); ++i) stream.arrivals.push_back(static_cast<Nanos>(i) * 35'000'000);
  for (Request& r : strangers.requests) r.client = "stranger", r.sampling.seed += 1 << 20;
  const Load both = merged(stream, strangers);
  constexpr Nanos kAging = 2'000'000'000;
  SLUICE_TRY(const Run unbounded, simulate(options, both));
  options.aging_ms = kAging / kMs;
  SLUICE_TRY(const Run bounded, simulate(options, both));
  int overtaken = 0;  // a stranger that has waited for its aging, by what came after it
  for (size_t i = 0; i < both.requests.size(); ++i)
    for (size_t k = i + 1; k < both.requests.size(); ++k) {
      const Nanos start = both.arrivals[k] + bounded.waited[k];
      overtaken += both.requests[i].client == "stranger" && start > both.arrivals[i] + kAging && start < both.arrivals[i] + bounded.waited[i];
    }
  f.must("a request without a hit that has waited for its aging is overtaken by none that came later", overtaken == 0, fmt::format("{} were", overtaken));
  f.effect = {"prompt tokens found in the cache", "%", hit_share(fcfs), hit_share(lpm), Better::higher, false};
  f.count("the same in depth-first order and at best, %", hit_share(depth_first), best);
  f.count("simulated time for all, s", fcfs.report.duration_s, lpm.report.duration_s);
  const auto is_stranger = [](const Request& r) { return r.client == "stranger"; };
  f.count("longest wait of a request without a hit in a stream of hits, ms: no aging, 2 s", longest_wait_ms(unbounded, both, is_stranger),
          longest_wait_ms(bounded, both, is_stranger));
  return f;
}

}  // namespace

extern const Experiment kLongestPrefix;
const Experiment kLongestPrefix = {
    .name = "lpm",
    .ids = "H6 V7",
    .group = "scheduling",
    .technique = "Cache-aware order: longest prefix match first, with an age bound",
    .paper = "Zheng et al., SGLang, NeurIPS 2024",
    .file = "src/sched/queue/longest_prefix.cpp",
    .flag = "`--scheduling-policy lpm --aging-ms N`",
    .test = "`tests/property`, `src/sched/queue/queue_test.cpp`",
    .baseline = "first come, first served",
    .workload = "simulated, 4 seats; a shuffled tree of prompts of which the cache holds a quarter",
    .holds = "lossless; near the most that can be hit; nobody waits beyond its aging for those that hit",
    .run = run_longest_prefix};

}  // namespace sluice::lab
