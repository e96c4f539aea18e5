#include "lab/reuse_quality.h"

#include <cmath>

#include "lab/workloads.h"

namespace sluice::lab {

Result<std::vector<TokenId>> written_text(Bench& bench, int tokens, uint64_t seed) {
  Rng rng(seed);
  const int prompt = std::min(16, tokens - 1);
  Request request = forced_request(random_tokens(rng, bench.vocab(), prompt), tokens - prompt, seed);
  request.sampling.temperature = 0.8f;
  SLUICE_TRY(const Run run, bench.run(engine_options(tokens + 1, tokens + 32), {{request}, {}}));
  std::vector<TokenId> text = request.prompt;
  const std::vector<TokenId>& output = run.outputs.at({0, 0}).tokens;
  text.insert(text.end(), output.begin(), output.end());
  return text;
}

Result<Distributions> next_token_distributions(Bench& bench, EngineOptions options, std::vector<Request> requests, EngineStats* stats) {
  for (Request& request : requests) request.sampling.logprobs = static_cast<int>(bench.vocab());
  options.max_num_seqs = 1;
  const size_t n = requests.size();
  SLUICE_TRY(const Run run, bench.run(options, {std::move(requests), {}}));
  if (stats != nullptr) *stats = run.stats;
  Distributions out(n, std::vector<float>(static_cast<size_t>(bench.vocab())));
  for (size_t i = 0; i < n; ++i)
    for (const TokenLogprob& t : run.outputs.at({i, 0}).top.at(0)) out[i][static_cast<size_t>(t.token)] = t.logprob;
  return out;
}

ReuseQuality compare_distributions(const Distributions& full, const Distributions& other, std::span<const TokenId> next) {
  ReuseQuality out;
  const auto n = static_cast<double>(full.size());
  for (size_t i = 0; i < full.size(); ++i) {
    for (size_t t = 0; t < full[i].size(); ++t) {
      const auto p = static_cast<double>(full[i][t]);
      out.kl += std::exp(p) * (p - static_cast<double>(other[i][t])) / n;
    }
    out.nll -= static_cast<double>(other[i][static_cast<size_t>(next[i])]) / n;
  }
  return out;
}

}  // namespace sluice::lab
