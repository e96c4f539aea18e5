// "whitespace": BPE over the characters of each word, with listed merges; white space is left out, as it is of BERT
// (jina-embeddings-v2-base-zh).

#include "text/tokenizer/formats/gguf_model.h"
#include "text/tokenizer/utf8.h"

namespace sluice {

Status build_gguf_whitespace(const GgufSource& source, TokenizerParts& parts) {
  SLUICE_TRY(BpeSpec spec, gguf_character_bpe(source.vocab, parts));
  parts.model = std::make_unique<BpeModel>(std::move(spec));
  if (source.vocab.lowercase.value_or(false)) parts.normalizer.add(lower_case(), kNormalFormShrinks);
  parts.pre_tokenizer.add(split_at_characters(is_white_space, SplitBehavior::removed));
  parts.pre_tokenizer.drops_text = true;
  return {};
}

}  // namespace sluice
