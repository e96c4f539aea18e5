#include <algorithm>
#include <cmath>

#include "lab/kv/retention_load.h"
#include "model/quality.h"

namespace sluice::lab {
namespace {

/// As a model with a window of `window` computes it that begins anew for every half of one: each token is predicted from
/// its own position in a fresh context. What StreamingLLM calls the sliding window with recomputation.
Result<std::vector<double>> recomputed(Bench& bench, const std::vector<TokenId>& text, size_t window) {
  std::vector<double> nll;
  const size_t half = window / 2;
  SLUICE_TRY(const KvArena arena, KvArena::allocate(bench.model().kv(), kKvF32, static_cast<int>(window + 15) / 16, 16));
  for (size_t first = 0; first + window <= text.size(); first += half) {
    const auto part = token_nll(bench.model(), arena.layers(), std::span(text).subspan(first, window));
    nll.insert(nll.end(), first == 0 ? part.begin() : part.end() - static_cast<int64_t>(half), part.end());
  }
  return nll;
}

/// Milliseconds of a step, over the steps of one quarter of a run.
double step_ms(const Run& run, size_t quarter) {
  const size_t n = run.steps.size() / 4, from = std::max<size_t>(1, quarter * n);
  return static_cast<double>(run.steps[quarter * n + n - 1].at - run.steps[from - 1].at) / 1e6 / static_cast<double>(quarter * n + n - from);
}

Result<Finding> run_streaming(const Setting& setting) {
  SLUICE_TRY(const auto bench, Bench::open(setting));
  const int positions = bench->max_positions(), budget = std::min(256, positions / 2 / 16 * 16), length = setting.quick ? 8192 : 65536;
  SLUICE_TRY(const std::vector<TokenId> text, written_text(*bench, length));
  SLUICE_TRY(const Stream sinks, stream(*bench, retained("sink-window", budget, length + 1), text));
  SLUICE_TRY(const Stream window, stream(*bench, retained("sink-window", budget, length + 1, 0), text));
  SLUICE_TRY(const Stream narrow, stream(*bench, retained("sink-window", budget, length + 1), text, kKvF16));
  SLUICE_TRY(const std::vector<double> fresh, recomputed(*bench, text, static_cast<size_t>(budget)));
  const size_t n = fresh.size(), quarter = n / 4;

  Finding f;
  const auto ratio = [&](const std::vector<double>& nll, size_t from, size_t to) { return std::exp(mean(nll, from, to) - mean(fresh, from, to)); };
  f.must("perplexity of the stream at most 1.1 times that of a window of this size computed afresh", ratio(sinks.nll, 0, n) <= 1.1,
         fmt::format("{:.3f} times", ratio(sinks.nll, 0, n)));
  double worst = 0;
  for (size_t i = 0; i < 4; ++i) worst = std::max(worst, ratio(sinks.nll, i * quarter, (i + 1) * quarter));
  f.must("flat: so in every quarter of the stream", worst <= 1.1, fmt::format("{:.3f} times at most", worst));
  f.must("in f16, whose keys are rounded each time they turn, within 0.01 nats of f32", std::fabs(mean(narrow.nll, 0, n) - mean(sinks.nll, 0, n)) < 0.01,
         fmt::format("{:+.5f}", mean(narrow.nll, 0, n) - mean(sinks.nll, 0, n)));
  const int blocks = (budget + 15) / 16;
  f.must("memory is constant", sinks.run.peak_blocks <= blocks && sinks.run.stats.kv_evicted_tokens >= static_cast<uint64_t>(length - budget),
         fmt::format("{} blocks at most, for {} tokens", sinks.run.peak_blocks, length));
  // One more sequence, which writes far beyond the positions of the model.
  Rng rng(3);
  SLUICE_TRY(const Run writes, bench->run(retained("sink-window", budget, 3 * positions), {{forced_request(random_tokens(rng, bench->vocab(), 8), 2 * positions)}, {}}));
  f.must("a sequence writes twice as many tokens as the model has positions", writes.failed() == 0 && writes.outputs.at({0, 0}).tokens.size() == static_cast<size_t>(2 * positions),
         fmt::format("{} tokens, {} blocks", writes.outputs.at({0, 0}).tokens.size(), writes.peak_blocks));

  const double with = std::exp(mean(sinks.nll, 0, n)), without = std::exp(mean(window.nll, 0, n));
  f.effect = {fmt::format("perplexity over {} tokens with {} slots", length, budget), "", without, with, Better::lower, false};
  if (without < 1.1 * with)
    f.absent(fmt::format("without sinks the perplexity is {:.2f}, with them {:.2f}: this model rests no attention on its first tokens", without, with));
  f.count("perplexity, window alone and with 4 sinks, first quarter", std::exp(mean(window.nll, 0, quarter)), std::exp(mean(sinks.nll, 0, quarter)));
  f.count("the same, last quarter", std::exp(mean(window.nll, n - quarter, n)), std::exp(mean(sinks.nll, n - quarter, n)));
  f.count("perplexity, a window computed afresh, and the stream", std::exp(mean(fresh, 0, n)), with);
  f.count("ms a step of 64 rows, second and last quarter of the stream (timed)", step_ms(sinks.run, 1), step_ms(sinks.run, 3));
  // The whole cache, as far as the model's positions reach.
  const int fits = std::min(length, positions - 1);
  SLUICE_TRY(const Stream full, stream(*bench, retained("none", 0, positions), std::vector<TokenId>(text.begin(), text.begin() + fits)));
  const auto end = static_cast<size_t>(fits - 1);
  f.count(fmt::format("perplexity over the first {} tokens, full cache and the stream", fits), std::exp(mean(full.nll, 0, end)), std::exp(mean(sinks.nll, 0, end)));
  return f;
}

}  // namespace

extern const Experiment kStreaming;
const Experiment kStreaming = {
    .name = "sink-window",
    .ids = "W1",
    .group = "kv",
    .technique = "StreamingLLM: attention sinks and a window, positions within the cache",
    .paper = "Xiao et al., ICLR 2024",
    .file = "src/kv/retention/sink_window.h",
    .flag = "`--kv-retention sink-window --kv-retention-budget N`",
    .test = "`src/exec/kv_evictor_test.cpp`, `tests/exactness`, `tests/property`",
    .baseline = "the window alone (no sinks), the same slots",
    .workload = "a stream of 8,192 tokens that the model wrote (65,536 with --full), 256 slots",
    .holds = "approximate: at most 1.1 times the perplexity of a window computed afresh, all along; constant memory",
    .run = run_streaming};

}  // namespace sluice::lab
