#include "text/tokenizer/added_tokens.h"

#include <algorithm>

#include "text/tokenizer/step_count.h"
#include "text/tokenizer/utf8.h"

namespace sluice {

bool is_control(const AddedToken& token) {
  const std::string& text = token.content;
  if (token.special) return true;
  return text.size() >= 3 &&
         ((text.front() == '<' && text.back() == '>') || (text.front() == '[' && text.back() == ']'));
}

AddedTokenMatcher::AddedTokenMatcher(std::vector<AddedToken> tokens)
    : tokens_(std::move(tokens)), token_at_node_(1, -1) {
  for (size_t i = 0; i < tokens_.size(); ++i) {
    if (!tokens_[i].pattern.empty()) tokens_[i].content = tokens_[i].pattern;
    const std::string& content = tokens_[i].content;
    CHECK(!content.empty());
    starts_[static_cast<unsigned char>(content[0])] = true;
    uint32_t node = 0;
    for (const char c : content) {
      const auto next = static_cast<uint32_t>(token_at_node_.size());
      const auto [it, added] = children_.emplace(uint64_t{node} << 8 | static_cast<unsigned char>(c), next);
      if (added) token_at_node_.push_back(-1);
      node = it->second;
    }
    if (token_at_node_[node] < 0) token_at_node_[node] = static_cast<int32_t>(i);
  }
}

std::optional<AddedTokenMatcher::Match> AddedTokenMatcher::find(std::string_view text, size_t from,
                                                                std::span<const TextRange>& trusted) const {
  if (tokens_.empty()) return std::nullopt;
  while (!trusted.empty() && trusted[0].end <= from) trusted = trusted.subspan(1);
  std::span<const TextRange> open = trusted;
  for (size_t at = from; at < text.size(); ++at) {
    if (!starts_[static_cast<unsigned char>(text[at])]) continue;
    while (!open.empty() && open[0].end <= at) open = open.subspan(1);
    const size_t trusted_end = !open.empty() && open[0].begin <= at ? open[0].end : at;

    const AddedToken* best = nullptr;
    uint32_t node = 0;
    for (size_t i = at; i < text.size(); ++i) {
      ++tokenizer_steps;
      const auto child = children_.find(uint64_t{node} << 8 | static_cast<unsigned char>(text[i]));
      if (child == children_.end()) break;
      node = child->second;
      if (token_at_node_[node] < 0) continue;
      const AddedToken& token = tokens_[static_cast<size_t>(token_at_node_[node])];
      if (i < trusted_end || !is_control(token)) best = &token;
    }
    if (best == nullptr) continue;
    Match match{at, at + best->content.size(), best->id};
    if (best->single_word) {
      const bool word_before = match.begin > 0 && is_word_character(decode_utf8(text, utf8_before(text, match.begin)));
      const bool word_after = match.end < text.size() && is_word_character(decode_utf8(text, match.end));
      if (word_before || word_after) {
        at = match.end - 1;
        continue;
      }
    }
    while (best->lstrip && match.begin > from && is_white_space(decode_utf8(text, utf8_before(text, match.begin))))
      match.begin = utf8_before(text, match.begin);
    while (best->rstrip && match.end < text.size() && is_white_space(decode_utf8(text, match.end)))
      match.end += utf8_length(static_cast<unsigned char>(text[match.end]));
    return match;
  }
  return std::nullopt;
}

}  // namespace sluice
