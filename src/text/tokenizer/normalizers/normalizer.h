#pragma once
// What happens to text before it is split: Unicode normal forms, replacements, the leading space of sentencepiece.

#include <nlohmann/json_fwd.hpp>

#include <functional>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/tokenizer/regex.h"

namespace sluice {

class Normalizer {
 public:
  /// `at_start`: the text stands at the very beginning of the input.
  using Step = std::function<void(std::string& text, bool at_start)>;

  /// `shrinks`: the most bytes of text of which the step makes one; infinite where it drops text.
  void add(Step step, double shrinks = 1) {
    steps_.push_back(std::move(step));
    shrinks_ *= shrinks;
  }
  bool empty() const { return steps_.empty(); }
  /// `text` must be valid UTF-8; so is the result.
  std::string apply(std::string_view text, bool at_start) const;
  /// The most bytes of text of which all steps make one.
  double shrinks() const { return shrinks_; }

 private:
  double shrinks_ = 1;
  std::vector<Step> steps_;
};

inline constexpr double kDropsText = std::numeric_limits<double>::infinity();

enum class NormalForm { nfc, nfd, nfkc, nfkd };
/// U+1D6CA with two accents, 8 bytes, becomes U+0390 of 2: no other character shrinks by more.
inline constexpr double kNormalFormShrinks = 4;
Normalizer::Step normal_form(NormalForm form);
/// Shrinks no more than a normal form does.
Normalizer::Step lower_case();
Normalizer::Step prepend_text(std::string prefix, bool only_at_start);
Normalizer::Step replace_text(std::string from, std::string to);
Normalizer::Step replace_pattern(Regex regex, std::string to);
/// Strips spaces at both ends and makes one of each run (remove_extra_whitespaces of sentencepiece).
Normalizer::Step remove_extra_spaces();
/// Strips every `text` at the end.
Normalizer::Step drop_at_end(std::string text);
/// What BERT's encoder does to text before it cuts it: a clean-up, spaces around Chinese characters, no accents, lower
/// case.
struct BertCleaning {
  bool clean_text = true, space_chinese = true, strip_accents = true, lowercase = true;
};
Normalizer::Step bert_cleaning(BertCleaning what);
/// The character map of a sentencepiece model. Both have its longest entries replaced; a tokenizer.json looks at one
/// grapheme cluster at a time. The error is for a map that is damaged.
enum class CharacterMapBy { longest_match, grapheme };
Result<Normalizer::Step> character_map(std::string map, CharacterMapBy by);

/// The "normalizer" of a tokenizer.json (an object or null).
Result<Normalizer> parse_normalizer(const nlohmann::json& description);

// One file each, except that the four normal forms are one.
Status parse_bert_normalizer(const nlohmann::json& description, Normalizer& out);
Status parse_byte_level_normalizer(const nlohmann::json& description, Normalizer& out);
Status parse_lowercase(const nlohmann::json& description, Normalizer& out);
Status parse_nfc(const nlohmann::json& description, Normalizer& out);
Status parse_nfd(const nlohmann::json& description, Normalizer& out);
Status parse_nfkc(const nlohmann::json& description, Normalizer& out);
Status parse_nfkd(const nlohmann::json& description, Normalizer& out);
Status parse_nmt(const nlohmann::json& description, Normalizer& out);
Status parse_precompiled(const nlohmann::json& description, Normalizer& out);
Status parse_prepend(const nlohmann::json& description, Normalizer& out);
Status parse_replace(const nlohmann::json& description, Normalizer& out);
Status parse_strip(const nlohmann::json& description, Normalizer& out);
Status parse_strip_accents(const nlohmann::json& description, Normalizer& out);

/// Appends the character in lower case: one, except that U+0130 becomes two.
void append_lowercase(std::string& out, uint32_t c);

}  // namespace sluice
