#pragma once
// Synthetic workloads, small enough for a quick run and made to show one thing each. All are a function of their
// arguments alone; tokens are drawn from [3, vocab), since the first ids are special ones in most vocabularies.

#include "base/rng.h"
#include "lab/run.h"
#include "sim/trace.h"

namespace sluice::lab {

/// Of loads for the simulator alone, which takes any.
inline constexpr int kSimulatedVocab = 32'000;

std::vector<TokenId> random_tokens(Rng& rng, int64_t vocab, int n);
/// Greedy, with its length forced; logprobs are on, so that outputs can be compared to the bit.
Request forced_request(std::vector<TokenId> prompt, int output_tokens, uint64_t seed = 0);

/// `n` prompts that begin with the same `prefix_tokens` and go on with `own_tokens` of their own.
Load shared_prefix(int64_t vocab, int n, int prefix_tokens, int own_tokens, int output_tokens);

/// Prompts uniform in [1, 2 * mean], outputs exponential around their mean (most short, a few long, none above `most`), arrivals Poisson at
/// `rate` per second (0: at once).
struct Mixed {
  int n = 100;
  int prompt_mean = 64, output_mean = 64, output_most = 512;
  double rate = 0;
  uint64_t seed = 1;
};
Load mixed_lengths(int64_t vocab, const Mixed& shape);

/// The requests of a trace file, scaled.
Result<Load> trace_load(const std::string& path, int64_t vocab, const TraceScale& scale);

/// Every output token's place in time is compared nowhere; what is, are the tokens: whether both served all requests
/// and gave the same. `why` says where they part.
bool same_outputs(const Run& a, const Run& b, std::string* why);

}  // namespace sluice::lab
