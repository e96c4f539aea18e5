// Digits: numbers apart from the rest, or every digit of them.

#include "text/tokenizer/parts_catalog.h"
#include "text/tokenizer/pre_tokenizers/pre_tokenizer.h"
#include "text/tokenizer/unicode_classes.h"

namespace sluice {

Status parse_digits(const nlohmann::json& description, PreTokenizer& out) {
  if (out.byte_level) out.spell_bytes();
  SLUICE_TRY(const bool individual, bool_field(description, "individual_digits", false));
  out.add(split_at_characters(is_number, individual ? SplitBehavior::isolated : SplitBehavior::contiguous));
  return {};
}

}  // namespace sluice
