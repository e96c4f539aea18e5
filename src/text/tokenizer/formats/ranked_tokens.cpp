#include "text/tokenizer/formats/ranked_tokens.h"

#include <algorithm>

#include "text/tokenizer/models/piece_table.h"
#include "text/tokenizer/step_count.h"
#include "text/tokenizer/utf8.h"

namespace sluice {
namespace {

constexpr size_t kMaxTokenBytes = 1 << 12;
// Finding a token's merge takes the square of its length in steps. Of the vocabularies that there are none takes 20 a byte
// altogether; one of long tokens only would keep a start busy for minutes, and is refused.
constexpr uint64_t kMaxStepsPerByte = 256, kFreeSteps = 1 << 26;

/// Merges the bytes of `token` by rank until two symbols are left; the bytes of the first, or 0 where more stay.
size_t left_bytes(std::string_view token, const PieceTable& rank_of, std::vector<size_t>& begins) {
  begins.clear();
  for (size_t i = 0; i <= token.size(); ++i) begins.push_back(i);
  while (begins.size() > 3) {
    tokenizer_steps += 2 * token.size();  // each byte is in two pairs
    size_t best = 0;
    TokenId best_rank = INT32_MAX;
    for (size_t i = 0; i + 2 < begins.size(); ++i) {
      const auto rank = rank_of.find(token.substr(begins[i], begins[i + 2] - begins[i]));
      if (rank && *rank < best_rank) best = i, best_rank = *rank;
    }
    if (best_rank == INT32_MAX) return 0;
    begins.erase(begins.begin() + static_cast<std::ptrdiff_t>(best) + 1);
  }
  return begins[1];
}

}  // namespace

Status put_token(GgufVocab& vocab, int64_t id, std::string text, GgufTokenType type) {
  if (id < 0 || id > kMaxTokenId) return corrupt_data(fmt::format("token '{}' has id {}", to_valid_utf8(text), id));
  const auto at = static_cast<size_t>(id);
  while (vocab.tokens.size() <= at) {
    vocab.tokens.push_back(fmt::format("[PAD{}]", vocab.tokens.size()));
    vocab.token_types.push_back(static_cast<int32_t>(GgufTokenType::unused));
  }
  vocab.tokens[at] = std::move(text);
  vocab.token_types[at] = static_cast<int32_t>(type);
  return {};
}

Status add_ranked_tokens(const RankedTokens& ranked, GgufVocab& vocab) {
  PieceTable rank_of;
  rank_of.reserve(ranked.tokens.size());
  uint64_t most_steps = tokenizer_steps + kFreeSteps;
  for (size_t rank = 0; rank < ranked.tokens.size(); ++rank) {
    const std::string& token = ranked.tokens[rank];
    if (token.empty()) continue;
    most_steps += kMaxStepsPerByte * token.size();
    if (token.size() > kMaxTokenBytes)
      return corrupt_data(fmt::format("the token of rank {} has {} bytes, at most {} allowed", rank, token.size(), kMaxTokenBytes));
    if (!rank_of.add(token, static_cast<TokenId>(rank)))
      return corrupt_data(fmt::format("the token of rank {} is there twice", rank));
  }
  std::vector<size_t> begins;
  for (size_t rank = 0; rank < ranked.tokens.size(); ++rank) {
    const std::string& token = ranked.tokens[rank];
    if (token.empty()) continue;
    SLUICE_TRY_STATUS(put_token(vocab, static_cast<int64_t>(rank) + ranked.first_id, bytes_to_byte_level(token),
                                GgufTokenType::normal));
    if (token.size() < 2) continue;
    const size_t left = left_bytes(token, rank_of, begins);
    if (tokenizer_steps > most_steps)
      return resource_exhausted(fmt::format("its tokens are too long to find what merges them: at rank {} ({} bytes) that took {} steps for each "
                                            "byte of the whole vocabulary, expected about 20",
                                            rank, token.size(), kMaxStepsPerByte));
    const auto is_token = [&](std::string_view text) { return rank_of.find(text).has_value(); };
    if (left > 0 && is_token(token.substr(0, left)) && is_token(token.substr(left)))
      vocab.merges.push_back(bytes_to_byte_level(token.substr(0, left)) + " " + bytes_to_byte_level(token.substr(left)));
  }
  return {};
}

}  // namespace sluice
