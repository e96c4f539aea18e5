#include "lab/kv/retention_load.h"

#include <algorithm>
#include <numeric>

namespace sluice::lab {

EngineOptions retained(std::string_view policy, int budget, int context, int sinks) {
  const bool all = policy == "none";
  EngineOptions options = engine_options(context, all ? context : budget);
  options.prefix_cache = "none";
  options.kv_retention = policy;
  options.retention.sinks = sinks;
  if (!all) options.retention.budget_tokens = budget;
  return options;
}

Result<std::vector<TokenId>> written_text(Bench& bench, int tokens) {
  const int each = std::min(bench.max_positions() - 8, 1000), lines = (tokens + each - 1) / each;
  Rng rng(7);
  Load load;
  for (int i = 0; i < lines; ++i) {
    Request r = forced_request(random_tokens(rng, bench.vocab(), 4), each, static_cast<uint64_t>(i));
    r.prompt[0] = 1;  // where text begins, for all models with such a token
    r.sampling.temperature = 0.8f;
    load.requests.push_back(std::move(r));
  }
  EngineOptions options = engine_options(each + 8, 24 * (each + 8));
  SLUICE_TRY(const Run run, bench.run(options, load));
  std::vector<TokenId> text = {1};
  for (const auto& [request, output] : run.outputs)
    for (const TokenId t : output.tokens)
      if (t != 1 && static_cast<int>(text.size()) < tokens) text.push_back(t);
  return text;
}

Result<Stream> stream(Bench& bench, const EngineOptions& options, const std::vector<TokenId>& text, const KvFormat& kv) {
  Request r = forced_request(text, 1);
  r.prompt_logprobs = 0;
  Stream out;
  SLUICE_TRY(out.run, bench.run(options, {{std::move(r)}, {}}, kv));
  for (const float logprob : out.run.scored[0]) out.nll.push_back(-static_cast<double>(logprob));
  CHECK(out.nll.size() + 1 == text.size(), "{} of {} tokens were scored", out.nll.size() + 1, text.size());
  return out;
}

double mean(const std::vector<double>& nll, size_t from, size_t to) {
  return std::accumulate(nll.begin() + static_cast<int64_t>(from), nll.begin() + static_cast<int64_t>(to), 0.0) / static_cast<double>(to - from);
}

Result<std::vector<bool>> answers(Bench& bench, const std::vector<Question>& questions, const EngineOptions& options) {
  Load load;
  for (const Question& q : questions) load.requests.push_back(forced_request(q.prompt, 1));
  EngineOptions roomy = options;
  roomy.kv_blocks *= 4;
  SLUICE_TRY(const Run run, bench.run(roomy, load));
  std::vector<bool> right;
  for (size_t i = 0; i < questions.size(); ++i) right.push_back(run.outputs.at({i, 0}).tokens.at(0) == questions[i].answer);
  return right;
}

}  // namespace sluice::lab
