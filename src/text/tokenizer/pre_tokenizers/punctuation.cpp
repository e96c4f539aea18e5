// Punctuation: every mark.

#include "text/tokenizer/parts_catalog.h"
#include "text/tokenizer/pre_tokenizers/pre_tokenizer.h"
#include "text/tokenizer/unicode_classes.h"

namespace sluice {

Status parse_punctuation(const nlohmann::json& description, PreTokenizer& out) {
  if (out.byte_level) out.spell_bytes();
  SplitBehavior behavior = SplitBehavior::isolated;
  if (find_field(description, "behavior") != nullptr) {
    SLUICE_TRY(behavior, parse_behavior(description));
  }
  out.add(split_at_characters(is_punctuation, behavior));
  out.drops_text |= behavior == SplitBehavior::removed;
  return {};
}

}  // namespace sluice
