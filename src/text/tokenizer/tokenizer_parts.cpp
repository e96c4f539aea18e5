#include "text/tokenizer/tokenizer_parts.h"

#include <algorithm>
#include <span>
#include <string_view>

namespace sluice {
namespace {

// How the families that we know spell the end of a turn or a text.
constexpr std::string_view kEndNames[] = {"<|im_end|>",      "<|eot_id|>", "<|eom_id|>",    "<|endoftext|>",
                                          "<|end_of_text|>", "<|end|>",    "<end_of_turn>", "<｜end▁of▁sentence｜>"};
// Harmony's (gpt-oss): a turn is several messages, and <|end|> ends but one of them.
constexpr std::string_view kHarmonyEndNames[] = {"<|return|>", "<|call|>", "<|endoftext|>"};
constexpr size_t kMaxHoles = 1 << 16;  // ids that a file may leave out

}  // namespace

std::unordered_set<TokenId> control_ids(const std::vector<AddedToken>& added) {
  std::unordered_set<TokenId> ids;
  for (const AddedToken& token : added)
    if (is_control(token)) ids.insert(token.id);
  return ids;
}

AddedTokenList::AddedTokenList(std::vector<AddedToken>& tokens) : tokens_(tokens) {
  for (size_t i = 0; i < tokens_.size(); ++i) index(i);
}

void AddedTokenList::index(size_t i) {
  by_id_.emplace(tokens_[i].id, i);
  by_content_.emplace(tokens_[i].content, i);
}

Status AddedTokenList::add(AddedToken token) {
  if (token.content.empty()) return {};
  if (token.content.size() > kMaxAddedTokenBytes)
    return corrupt_data(fmt::format("added token {} has {} bytes, at most {} allowed", token.id, token.content.size(),
                                    kMaxAddedTokenBytes));
  size_t i = tokens_.size();
  if (const auto same_id = by_id_.find(token.id); same_id != by_id_.end()) {
    i = same_id->second;
  } else if (const auto same_content = by_content_.find(token.content); same_content != by_content_.end()) {
    i = same_content->second;
  }
  if (i == tokens_.size()) {
    tokens_.push_back(std::move(token));
  } else {
    AddedToken& known = tokens_[i];
    if (const auto it = by_id_.find(known.id); it != by_id_.end() && it->second == i) by_id_.erase(it);
    if (const auto it = by_content_.find(known.content); it != by_content_.end() && it->second == i)
      by_content_.erase(it);
    known = std::move(token);
  }
  index(i);
  return {};
}

AddedToken* AddedTokenList::find(const std::string& content) {
  const auto it = by_content_.find(content);
  return it == by_content_.end() ? nullptr : &tokens_[it->second];
}

Status finish_tokens(TokenizerParts& parts) {
  const auto has = [&](std::string_view content) {
    return std::ranges::any_of(parts.added, [&](const AddedToken& token) { return token.content == content; });
  };
  const std::span<const std::string_view> end_names =
      has("<|channel|>") && has("<|return|>") ? std::span<const std::string_view>(kHarmonyEndNames) : kEndNames;
  for (const AddedToken& token : parts.added) {
    const size_t limit = 2 * (parts.tokens.size() + parts.added.size()) + kMaxHoles;
    if (token.id < 0 || static_cast<size_t>(token.id) >= limit)
      return corrupt_data(
          fmt::format("added token '{}' has id {}, expected less than {}", token.content, token.id, limit));
    if (static_cast<size_t>(token.id) >= parts.tokens.size()) parts.tokens.resize(static_cast<size_t>(token.id) + 1);
    parts.tokens[static_cast<size_t>(token.id)] = {token.content, token.special};
    const bool ends = std::ranges::find(end_names, token.content) != end_names.end();
    if (ends && is_control(token)) parts.end_of_generation.push_back(token.id);
  }
  const auto size = static_cast<TokenId>(parts.tokens.size());
  for (auto* id : {&parts.bos, &parts.eos, &parts.pad}) {
    if (*id && (**id < 0 || **id >= size))
      return corrupt_data(fmt::format("special token id {} is outside the vocabulary of {}", **id, size));
  }
  auto& ends = parts.end_of_generation;
  if (parts.eos) ends.push_back(*parts.eos);
  std::erase_if(ends, [&](TokenId id) { return id < 0 || id >= size; });
  std::sort(ends.begin(), ends.end());
  ends.erase(std::unique(ends.begin(), ends.end()), ends.end());
  return {};
}

}  // namespace sluice
