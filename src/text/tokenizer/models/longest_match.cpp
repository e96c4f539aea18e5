#include "text/tokenizer/models/longest_match.h"

#include <algorithm>

namespace sluice {

LongestMatchModel::LongestMatchModel(const std::vector<std::pair<std::string, TokenId>>& tokens,
                                     std::optional<TokenId> unknown)
    : trie_({tokens.begin(), tokens.end()}), unknown_(unknown) {
  for (int b = 0; b < 256; ++b) {
    const auto node = trie_.child(ByteTrie::kRoot, static_cast<char>(b));
    has_all_bytes_ &= node != ByteTrie::kNone && trie_.token(node) >= 0;
  }
}

void LongestMatchModel::encode(std::string_view piece, std::vector<TokenId>& out) const {
  for (size_t at = 0; at < piece.size();) {
    const auto [token, bytes] = trie_.longest(piece, at);
    if (token >= 0)
      out.push_back(token);
    else if (unknown_)
      out.push_back(*unknown_);
    at += std::max<size_t>(1, bytes);
  }
}

std::optional<TokenId> LongestMatchModel::find(std::string_view text) const {
  const auto [token, bytes] = trie_.longest(text, 0);
  return token >= 0 && bytes == text.size() ? std::optional(token) : std::nullopt;
}

std::optional<size_t> LongestMatchModel::longest_token_bytes() const {
  return has_all_bytes_ ? std::optional(std::max<size_t>(1, trie_.longest_bytes())) : std::nullopt;
}

}  // namespace sluice
