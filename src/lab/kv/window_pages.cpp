#include "kv/recent_pages.h"
#include "lab/workloads.h"

namespace sluice::lab {
namespace {

/// As Gemma 3 1B: of 26 layers 22 see 512 tokens.
constexpr int kLayers = 26, kWindowed = 22, kWindow = 512;
constexpr double kRatio = 0.25;  // --swa-full-tokens-ratio

/// Conversations of several turns behind one system prompt, all of a turn at once: each prompt is the one before it and more.
Load conversations(int users, int turns, int system, int turn_tokens, int output) {
  Rng rng(17);
  const auto shared = random_tokens(rng, 32000, system);
  std::vector<std::vector<TokenId>> prompts(static_cast<size_t>(users), shared);
  Load load;
  for (int turn = 0; turn < turns; ++turn)
    for (auto& prompt : prompts) {
      const auto said = random_tokens(rng, 32000, turn_tokens);
      prompt.insert(prompt.end(), said.begin(), said.end());
      load.requests.push_back(forced_request(prompt, output));
      load.arrivals.push_back(Nanos{turn} * 300'000'000'000);
    }
  return load;
}

Result<Finding> run_window_pages(const Setting& setting) {
  const int users = setting.quick ? 24 : 96, tokens = users * 2048;
  const Load load = conversations(users, 5, 1000, 1400, 60);
  EngineOptions options = engine_options(16384, tokens);
  options.max_num_seqs = users;
  SLUICE_TRY(const Run whole, simulate(options, load, StepCost::built_in()));

  // The same bytes, divided otherwise.
  const double unit = kLayers - kWindowed + kRatio * kWindowed;
  options.kv_blocks = static_cast<int>(tokens * kLayers / unit) / options.block_tokens;
  options.recent = {static_cast<int>(kRatio * options.kv_blocks), kWindow};
  SLUICE_TRY(const Run apart, simulate(options, load, StepCost::built_in()));

  Finding f;
  std::string why;
  const bool same = same_outputs(whole, apart, &why);
  f.must("every request is served, and gives the same tokens", same && whole.failed() + apart.failed() == 0, why);
  f.must("no more bytes", options.kv_blocks * (kLayers - kWindowed) + options.recent.pages * kWindowed <= tokens / options.block_tokens * kLayers);
  f.must("prefixes are found", apart.stats.prefix_hits_tokens >= whole.stats.prefix_hits_tokens,
         fmt::format("{} of {} tokens; with whole blocks {}", apart.stats.prefix_hits_tokens, apart.stats.prefix_queries_tokens, whole.stats.prefix_hits_tokens));
  f.effect = {"prompt tokens computed, in the same memory", "", static_cast<double>(whole.stats.prompt_tokens_computed), static_cast<double>(apart.stats.prompt_tokens_computed),
              Better::lower, false};
  f.count("tokens that the cache holds", tokens, options.kv_blocks * options.block_tokens);
  f.count("sequences that run, mean", whole.mean_running(), apart.mean_running());
  f.count("preemptions", static_cast<double>(whole.stats.preemptions), static_cast<double>(apart.stats.preemptions));
  f.count("pages that cached blocks lost", 0, static_cast<double>(apart.stats.kv_pages_reclaimed));
  f.count("mean TTFT, s", whole.report.ttft_ms.mean / 1e3, apart.report.ttft_ms.mean / 1e3);
  return f;
}

}  // namespace

extern const Experiment kWindowPages;
const Experiment kWindowPages = {
    .name = "window-pages",
    .ids = "-",
    .group = "kv",
    .technique = "Windowed and recurrent layers keep the KV of the last tokens only",
    .paper = "Jiang et al., Mistral 7B, 2023, section 2; Zhang et al., Jenga, 2025",
    .file = "src/kv/recent_pages.h",
    .flag = "`--swa-full-tokens-ratio R` (0.25 by default)",
    .test = "`tests/exactness`, `tests/property`",
    .baseline = "every block has all layers' KV",
    .workload = "simulated conversations behind one system prompt, on a model of Gemma 3 1B's layers",
    .holds = "lossless: equal tokens; no prefix is found that lacks its window",
    .run = run_window_pages};

}  // namespace sluice::lab
