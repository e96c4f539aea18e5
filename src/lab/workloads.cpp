#include "lab/workloads.h"

#include <algorithm>

namespace sluice::lab {

std::vector<TokenId> random_tokens(Rng& rng, int64_t vocab, int n) {
  std::vector<TokenId> tokens(static_cast<size_t>(n));
  for (TokenId& t : tokens) t = static_cast<TokenId>(rng.between(3, vocab - 1));
  return tokens;
}

Request forced_request(std::vector<TokenId> prompt, int output_tokens, uint64_t seed) {
  Request r;
  r.prompt = std::move(prompt);
  r.max_tokens = output_tokens;
  r.ignore_eos = true;
  r.sampling.temperature = 0;
  r.sampling.logprobs = 0;
  r.sampling.seed = seed;
  return r;
}

Load shared_prefix(int64_t vocab, int n, int prefix_tokens, int own_tokens, int output_tokens) {
  Rng rng(11);
  const std::vector<TokenId> prefix = random_tokens(rng, vocab, prefix_tokens);
  Load load;
  for (int i = 0; i < n; ++i) {
    std::vector<TokenId> prompt = prefix;
    const std::vector<TokenId> own = random_tokens(rng, vocab, own_tokens);
    prompt.insert(prompt.end(), own.begin(), own.end());
    load.requests.push_back(forced_request(std::move(prompt), output_tokens, static_cast<uint64_t>(i)));
  }
  return load;
}

Load mixed_lengths(int64_t vocab, const Mixed& shape) {
  Rng rng(shape.seed);
  Load load;
  double at_s = 0;
  for (int i = 0; i < shape.n; ++i) {
    const int prompt = static_cast<int>(rng.between(1, 2 * shape.prompt_mean - 1));
    const int output = std::clamp(static_cast<int>(rng.next_exponential(1.0 / shape.output_mean)), 1, shape.output_most);
    load.requests.push_back(forced_request(random_tokens(rng, vocab, prompt), output, static_cast<uint64_t>(i)));
    if (shape.rate > 0) {
      at_s += rng.next_exponential(shape.rate);
      load.arrivals.push_back(static_cast<Nanos>(at_s * 1e9));
    }
  }
  return load;
}

Result<Load> trace_load(const std::string& path, int64_t vocab, const TraceScale& scale) {
  SLUICE_TRY(auto trace, load_trace(path));
  trace = scale_trace(std::move(trace), scale);
  Load load;
  for (size_t i = 0; i < trace.size(); ++i) {
    load.requests.push_back(trace_request(trace[i], i, 1, vocab));
    load.arrivals.push_back(trace[i].arrival);
  }
  return load;
}

bool same_outputs(const Run& a, const Run& b, std::string* why) {
  if (a.failed() + b.failed() > 0) {
    *why = fmt::format("{} and {} requests failed", a.failed(), b.failed());
    return false;
  }
  for (const auto& [key, output] : a.outputs) {
    const auto other = b.outputs.find(key);
    if (other != b.outputs.end() && other->second == output) continue;
    *why = fmt::format("request {}, sample {} differs", key.first, key.second);
    return false;
  }
  *why = fmt::format("{} outputs, {} tokens", a.outputs.size(), a.stats.generation_tokens);
  return a.outputs.size() == b.outputs.size();
}

}  // namespace sluice::lab
