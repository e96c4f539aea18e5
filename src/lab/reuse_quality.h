#pragma once
// How far answers from reused KV are from those of full prefill: whole next-token distributions, request by request.

#include "lab/run.h"

namespace sluice::lab {

/// Text that the model writes from a random beginning, of `tokens` tokens.
Result<std::vector<TokenId>> written_text(Bench& bench, int tokens, uint64_t seed);

/// ln p of every token of the vocabulary, in order of the ids, for the token that follows each request's prompt.
using Distributions = std::vector<std::vector<float>>;
/// The requests ask for max_tokens 1; they are served one after the other on a fresh engine.
Result<Distributions> next_token_distributions(Bench& bench, EngineOptions options, std::vector<Request> requests, EngineStats* stats = nullptr);

/// Mean over requests of KL(full || other) in nats, and of -ln p(token) that `other` gives the token that really came next.
struct ReuseQuality {
  double kl = 0, nll = 0;
};
ReuseQuality compare_distributions(const Distributions& full, const Distributions& other, std::span<const TokenId> next);

}  // namespace sluice::lab
