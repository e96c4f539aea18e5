#include "lab/reuse_quality.h"
#include "lab/workloads.h"

namespace sluice::lab {
namespace {

Result<Finding> run_kept_history(const Setting& setting) {
  SLUICE_TRY(const auto bench, Bench::open(setting));
  // A conversation in a window: each turn brings `turn` tokens; when it no longer fits, the oldest two turns behind the system prompt are cut.
  const int turn = 30, system = 40, turns = setting.quick ? 24 : 60, window = std::min(bench->max_positions() - 8, setting.quick ? 400 : 1500);
  SLUICE_TRY(const std::vector<TokenId> text, written_text(*bench, std::min(bench->max_positions() - 8, system + turn * turns), 4));
  const auto at = [&](int i) { return text[static_cast<size_t>(i) % text.size()]; };
  std::vector<Request> requests;
  std::vector<TokenId> next;
  int cut = 0, truncated = 0;
  for (int t = 1; t <= turns; ++t) {
    if (system + (t - cut) * turn > window) cut += 2;
    Request request = forced_request({}, 1);
    for (int i = 0; i < system; ++i) request.prompt.push_back(at(i));
    for (int i = cut * turn; i < t * turn; ++i) request.prompt.push_back(at(system + i));
    next.push_back(at(system + t * turn));
    truncated += cut > 0;
    requests.push_back(std::move(request));
  }
  EngineOptions options = engine_options(window + 8, 4 * window);
  options.block_tokens = 8;
  options.kv_blocks = 4 * window / 8;
  EngineOptions keeping = options;
  keeping.cache_reuse = 32;
  EngineStats anew_stats, kept_stats;
  SLUICE_TRY(const Distributions anew, next_token_distributions(*bench, options, requests, &anew_stats));
  SLUICE_TRY(const Distributions kept, next_token_distributions(*bench, keeping, requests, &kept_stats));
  Finding f;
  if (truncated == 0) {
    f.absent(fmt::format("{} turns of {} tokens fit the window of {}: nothing is ever cut", turns, turn, window));
    return f;
  }
  f.must("until the first cut, the bits of exact prefixes", std::equal(anew.begin(), anew.end() - truncated, kept.begin()), fmt::format("{} turns", turns - truncated));
  const ReuseQuality exact = compare_distributions(anew, anew, next), quality = compare_distributions(anew, kept, next);
  f.must("the text is predicted within 0.1 nats a token of history computed anew", quality.nll < exact.nll + 0.1, fmt::format("{:.4f} and {:.4f}", exact.nll, quality.nll));
  const auto rows = [&](const EngineStats& s) { return static_cast<double>(s.prompt_tokens_computed) / turns; };
  f.effect = {fmt::format("rows computed a turn, of {} turns of which {} come after a cut", turns, truncated), "", rows(anew_stats), rows(kept_stats), Better::lower, false};
  f.count("NLL of what follows, nats a token", exact.nll, quality.nll);
  f.count("KL from history computed anew, nats", 0, quality.kl);
  return f;
}

}  // namespace

extern const Experiment kKeptHistory;
const Experiment kKeptHistory = {
    .name = "kept-history",
    .ids = "V9",
    .group = "kv",
    .technique = "Truncated conversations keep the KV of what is left: found by content, keys rotated to their new places",
    .paper = "Gao et al., CachedAttention, USENIX ATC 2024, 3.4 (llama.cpp knows it as cache reuse)",
    .file = "src/kv/prefix/history_index.cpp",
    .flag = "`--cache-reuse N`",
    .test = "`src/kv/prefix/history_index_test.cpp`, `tests/exactness/segments_test.cpp`",
    .baseline = "exact prefixes alone",
    .workload = "a conversation in a window, whose oldest turns are cut behind the system prompt",
    .holds = "approximate: what is left has seen what was cut; exact until something is",
    .run = run_kept_history};

}  // namespace sluice::lab
