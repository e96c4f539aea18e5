#pragma once
// What happens to text before it is split: Unicode normal forms, replacements, the leading space of sentencepiece.

#include <nlohmann/json_fwd.hpp>

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace sluice {

class Normalizer {
 public:
  /// `at_start`: the text stands at the very beginning of the input.
  using Step = std::function<void(std::string& text, bool at_start)>;

  void add(Step step) { steps_.push_back(std::move(step)); }
  bool empty() const { return steps_.empty(); }
  /// `text` must be valid UTF-8; so is the result.
  std::string apply(std::string_view text, bool at_start) const;

 private:
  std::vector<Step> steps_;
};

enum class NormalForm { nfc, nfd, nfkc, nfkd };
Normalizer::Step normal_form(NormalForm form);
Normalizer::Step prepend_text(std::string prefix, bool only_at_start);
Normalizer::Step replace_text(std::string from, std::string to);
/// Strips spaces at both ends and makes one of each run (remove_extra_whitespaces of sentencepiece).
Normalizer::Step remove_extra_spaces();

/// The "normalizer" of a tokenizer.json (an object or null).
Result<Normalizer> parse_normalizer(const nlohmann::json& description);

}  // namespace sluice
