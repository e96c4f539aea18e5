#include <algorithm>
#include <cmath>

#include "lab/reuse_quality.h"
#include "lab/workloads.h"

namespace sluice::lab {
namespace {

constexpr TokenId kDocumentStart = 1;

Result<Finding> run_selective_reconstruction(const Setting& setting) {
  SLUICE_TRY(const auto bench, Bench::open(setting));
  // Documents that are parts of one text, so that each depends on those before it; every request brings another order of the first ones.
  const int documents = 4, own = 8, asked = setting.quick ? 24 : 96;
  const int context = std::min(bench->max_positions() - 1, setting.quick ? 440 : 2000), length = (context - own - 2) / documents;
  std::vector<Request> requests;
  std::vector<TokenId> next;
  for (int t = 0; t < asked / 6; ++t) {
    SLUICE_TRY(const std::vector<TokenId> text, written_text(*bench, documents * length + own + 1, 10 + static_cast<uint64_t>(t)));
    for (int o = 0; o < 6; ++o) {
      std::vector<int> order = {0, 1, 2, 3};
      for (int k = 0; k < o; ++k) std::next_permutation(order.begin(), order.begin() + 3);  // the last one stays before the end of its text
      Request request = forced_request({kDocumentStart}, 1);
      for (const int d : order) {
        const int first = static_cast<int>(request.prompt.size());
        request.reuse.segments.push_back({first, length, 1, first - 1});
        request.prompt.insert(request.prompt.end(), text.begin() + d * length, text.begin() + (d + 1) * length);
      }
      request.prompt.insert(request.prompt.end(), text.end() - own - 1, text.end() - 1);
      next.push_back(text.back());
      requests.push_back(std::move(request));
    }
  }
  EngineOptions options = engine_options(context + 1, 6 * context);
  options.prefix_cache = "none";
  const auto with = [&](double share, RecomputeRule rule, EngineStats* stats = nullptr) {
    std::vector<Request> list = requests;
    for (Request& r : list) r.reuse.recompute = share, r.reuse.rule = rule;
    EngineOptions reusing = options;
    reusing.segment_cache = true;
    return next_token_distributions(*bench, reusing, std::move(list), stats);
  };
  std::vector<Request> plain = requests;
  for (Request& r : plain) r.reuse = {};
  EngineStats full_stats, stats;
  SLUICE_TRY(const Distributions full, next_token_distributions(*bench, options, plain, &full_stats));
  Finding f;
  for (const RecomputeRule rule : {RecomputeRule::position, RecomputeRule::deviation}) {
    SLUICE_TRY(const Distributions all, with(1, rule));
    f.must(fmt::format("all recomputed, by {}: every logprob has the bits of full prefill", rule == RecomputeRule::position ? "position" : "deviation"), all == full);
  }
  SLUICE_TRY(const Distributions none, with(0, RecomputeRule::position));
  const ReuseQuality exact = compare_distributions(full, full, next), reused = compare_distributions(full, none, next);
  f.count("NLL of the next token, full prefill and nothing recomputed", exact.nll, reused.nll);
  f.count("KL from full prefill in nats, none and nothing recomputed", 0, reused.kl);
  double kl_deviation_half = 0, kl_position = 0, kl_deviation = 0;
  for (const double share : {0.05, 0.15, 0.3, 0.5}) {
    SLUICE_TRY(const Distributions position, with(share, RecomputeRule::position));
    SLUICE_TRY(const Distributions deviation, with(share, RecomputeRule::deviation, share == 0.15 ? &stats : nullptr));
    const ReuseQuality p = compare_distributions(full, position, next), d = compare_distributions(full, deviation, next);
    f.count(fmt::format("KL at {:.0f} % recomputed, by position and by deviation", 100 * share), p.kl, d.kl);
    f.count(fmt::format("NLL at {:.0f} % recomputed, by position and by deviation", 100 * share), p.nll, d.nll);
    if (share == 0.15) kl_position = p.kl, kl_deviation = d.kl;
    if (share == 0.5) kl_deviation_half = d.kl;
  }
  f.must("half of the tokens recomputed by deviation, KL is below that of plain reuse", kl_deviation_half < reused.kl, fmt::format("{:.5f} and {:.5f} nats", kl_deviation_half, reused.kl));
  // A probe's row ends in the second layer, after its projections: taken as two layers.
  const int layers = bench->model().info().layers;
  const double all_rows = static_cast<double>(full_stats.prompt_tokens_computed) * layers;
  const double repairs = static_cast<double>(requests.size()) * (documents - 1) * std::ceil(0.15 * length);
  const double probes = static_cast<double>(requests.size()) * (documents - 1) * length;
  const double encodings = static_cast<double>(stats.prompt_tokens_prepared) - repairs - probes;
  const double own_rows = static_cast<double>(stats.prompt_tokens_computed);
  const auto n = static_cast<double>(requests.size());
  f.effect = {"KL from full prefill in nats, 15 % recomputed: the first tokens, against those that deviate most", "", kl_position, kl_deviation, Better::lower, false};
  f.count(fmt::format("rows times {} layers computed for {} documents of {} tokens, full prefill and 15 % by deviation", layers, documents, length), all_rows / n,
          ((own_rows + repairs + encodings) * layers + probes * std::min(2, layers)) / n);
  f.count("of them for the probes, which end in the second layer", 0, probes * std::min(2, layers) / n);
  return f;
}

}  // namespace

extern const Experiment kSelectiveReconstruction;
const Experiment kSelectiveReconstruction = {
    .name = "selective-reconstruction",
    .ids = "V10",
    .group = "kv",
    .technique = "Selective reconstruction: chunks reused at any place, and the most affected tokens computed anew (CacheBlend)",
    .paper = "Yao et al., CacheBlend, EuroSys 2025",
    .file = "src/exec/reuse.cpp",
    .flag = "`--enable-chunk-reuse`, and `prompt_cache` in a request with `recompute` and `rule`",
    .test = "`tests/exactness/segments_test.cpp`, `tests/property`",
    .baseline = "the first tokens of each chunk computed anew, as many",
    .workload = "four documents in six orders, and the end of the last one's text",
    .holds = "approximate: all recomputed has full prefill's bits; half recomputed is nearer to it than plain reuse",
    .run = run_selective_reconstruction};

}  // namespace sluice::lab
