#pragma once
// Vocabularies of tiktoken: tokens as bytes with ranks, and no merges. What merges is any pair whose bytes together are a
// token, the lowest rank first; each token is so made from one pair, which is found here.

#include <string>
#include <utility>
#include <vector>

#include "base/gguf_vocab.h"
#include "base/result.h"

namespace sluice {

/// Token i has rank i, and id i + `first_id`; an empty one is a hole.
struct RankedTokens {
  std::vector<std::string> tokens;
  TokenId first_id = 0;
};

/// No vocabulary has ids above it.
inline constexpr int64_t kMaxTokenId = 4'000'000;

/// Fills in tokens (spelled in the byte-level alphabet), their types and the merges of a "gpt2" vocabulary. Tokens that no
/// merges make are only met as whole pieces.
Status add_ranked_tokens(const RankedTokens& ranked, GgufVocab& vocab);
/// Puts a token with its type; ids may leave holes, which become unused tokens.
Status put_token(GgufVocab& vocab, int64_t id, std::string text, GgufTokenType type);

}  // namespace sluice
