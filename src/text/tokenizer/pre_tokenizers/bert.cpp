// BertPreTokenizer: words between white space, and every punctuation mark.

#include "text/tokenizer/pre_tokenizers/pre_tokenizer.h"
#include "text/tokenizer/unicode_classes.h"
#include "text/tokenizer/utf8.h"

namespace sluice {

Status parse_bert_pre_tokenizer(const nlohmann::json&, PreTokenizer& out) {
  if (out.byte_level) out.spell_bytes();
  out.add(split_at_characters(is_white_space, SplitBehavior::removed));
  out.add(split_at_characters(is_punctuation, SplitBehavior::isolated));
  out.drops_text = true;
  return {};
}

}  // namespace sluice
