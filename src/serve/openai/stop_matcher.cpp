#include "serve/openai/stop_matcher.h"

#include <algorithm>
#include <utility>

namespace sluice {

StopStrings::StopStrings(std::vector<std::string> strings) {
  for (std::string& text : strings) {
    if (text.empty()) continue;
    Pattern pattern{std::move(text), {}};
    pattern.failure.assign(pattern.text.size(), 0);
    for (size_t i = 1, k = 0; i < pattern.text.size(); ++i) {
      while (k > 0 && pattern.text[i] != pattern.text[k]) k = pattern.failure[k - 1];
      if (pattern.text[i] == pattern.text[k]) ++k;
      pattern.failure[i] = k;
    }
    patterns_.push_back(std::move(pattern));
  }
}

StopMatcher::StopMatcher(std::shared_ptr<const StopStrings> strings)
    : strings_(std::move(strings)), state_(strings_->patterns_.size(), 0) {}

std::string StopMatcher::push(std::string_view piece, bool include_stop) {
  if (matched_) return {};
  if (strings_->empty()) return std::string(piece);
  std::string text = std::move(held_);
  held_.clear();
  for (const char c : piece) {
    text += c;
    size_t longest = 0;
    for (size_t i = 0; i < state_.size(); ++i) {
      const StopStrings::Pattern& pattern = strings_->patterns_[i];
      size_t k = state_[i];
      while (k > 0 && pattern.text[k] != c) k = pattern.failure[k - 1];
      if (pattern.text[k] == c) ++k;
      state_[i] = k;
      if (k == pattern.text.size() && k > longest) {
        longest = k;
        matched_ = i;
      }
    }
    if (matched_) {
      if (!include_stop) text.resize(text.size() - longest);
      return text;
    }
  }
  const size_t tail = *std::max_element(state_.begin(), state_.end());
  held_ = text.substr(text.size() - tail);
  text.resize(text.size() - tail);
  return text;
}

std::string StopMatcher::finish() { return std::exchange(held_, {}); }

}  // namespace sluice
