// WhitespaceSplit: what stands between white space.

#include "text/tokenizer/pre_tokenizers/pre_tokenizer.h"
#include "text/tokenizer/utf8.h"

namespace sluice {

Status parse_whitespace_split(const nlohmann::json&, PreTokenizer& out) {
  if (out.byte_level) out.spell_bytes();
  out.add(split_at_characters(is_white_space, SplitBehavior::removed));
  out.drops_text = true;
  return {};
}

}  // namespace sluice
