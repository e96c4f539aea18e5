#pragma once
// Finds stop strings in a text that comes in pieces. What it delivers depends on the text alone, never on how the text
// was cut: the match that ends first wins, and of those that end together the longest.

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sluice {

/// The stop strings of one request, prepared once and shared by its samples. Empty strings are left out.
class StopStrings {
 public:
  explicit StopStrings(std::vector<std::string> strings);
  bool empty() const { return patterns_.empty(); }
  const std::string& text(size_t i) const { return patterns_[i].text; }

 private:
  friend class StopMatcher;
  struct Pattern {
    std::string text;
    std::vector<size_t> failure;  // Knuth-Morris-Pratt: length of the longest border of the first i + 1 bytes
  };
  std::vector<Pattern> patterns_;
};

class StopMatcher {
 public:
  explicit StopMatcher(std::shared_ptr<const StopStrings> strings);

  /// The text that `piece` makes certain: all but a tail that may yet become a stop string. After a match, the rest of
  /// the text before it, or through it when `include_stop` is set; from then on nothing.
  std::string push(std::string_view piece, bool include_stop = false);
  /// The text ends: what was held back.
  std::string finish();
  /// Which string matched.
  const std::optional<size_t>& matched() const { return matched_; }
  const StopStrings& strings() const { return *strings_; }

 private:
  std::shared_ptr<const StopStrings> strings_;
  std::vector<size_t> state_;  // bytes of each pattern that the text ends in
  std::string held_;           // the longest of those tails
  std::optional<size_t> matched_;
};

}  // namespace sluice
