#include "text/tokenizer/models/word_piece.h"

#include <algorithm>

#include "text/tokenizer/step_count.h"
#include "text/tokenizer/utf8.h"

namespace sluice {

WordPieceModel::WordPieceModel(WordPieceSpec spec) : unknown_(spec.unknown), longest_word_(spec.longest_word) {
  trie_ = ByteTrie({spec.pieces.begin(), spec.pieces.end()});
  for (const char c : spec.prefix)
    if (inside_ != ByteTrie::kNone) inside_ = trie_.child(inside_, c);
}

void WordPieceModel::encode(std::string_view word, std::vector<TokenId>& out) const {
  const size_t old = out.size();
  const auto characters = std::count_if(word.begin(), word.end(), [](char c) { return (c & 0xc0) != 0x80; });
  tokenizer_steps += word.size();
  bool even = static_cast<size_t>(characters) <= longest_word_;
  for (size_t at = 0; even && at < word.size();) {
    ByteTrie::Node node = at == 0 ? ByteTrie::kRoot : inside_;
    TokenId found = -1;
    size_t end = at;
    for (size_t i = at; i < word.size() && node != ByteTrie::kNone; ++i) {
      node = trie_.child(node, word[i]);
      ++tokenizer_steps;
      if (node == ByteTrie::kNone || trie_.token(node) < 0) continue;
      found = trie_.token(node);
      end = i + 1;
    }
    even = found >= 0;
    if (even) out.push_back(found);
    at = end;
  }
  if (even) return;
  out.resize(old);
  if (unknown_ >= 0) out.push_back(unknown_);
}

std::optional<TokenId> WordPieceModel::find(std::string_view text) const {
  const auto [token, bytes] = trie_.longest(text, 0);
  return token >= 0 && bytes == text.size() ? std::optional(token) : std::nullopt;
}

}  // namespace sluice
