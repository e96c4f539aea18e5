// "t5": sentencepiece's Unigram. Text goes through the model's character map first. GGUF's form is cut into words as a
// tokenizer.json is: at any white space, and sums are those of a word. The file of a sentencepiece model is not: its library
// knows no white space but the space, and sums over the whole text, whose rounding must not change.

#include <algorithm>
#include <limits>

#include "text/tokenizer/formats/gguf_model.h"
#include "text/tokenizer/models/unigram.h"
#include "text/tokenizer/utf8.h"

namespace sluice {

Status build_gguf_t5(const GgufSource& source, TokenizerParts& parts) {
  const GgufVocab& vocab = source.vocab;
  SLUICE_TRY_STATUS(check_scores(vocab));
  UnigramSpec spec;
  spec.unknown = gguf_unknown(vocab);
  spec.in_float = source.from_sentencepiece;
  spec.least_score = std::numeric_limits<double>::infinity();
  const auto forbidden = control_ids(parts.added);
  bool crosses = false;
  for (size_t id = 0; id < vocab.tokens.size(); ++id) {
    const std::string text = gguf_text(vocab, id);
    const GgufTokenType type = gguf_token_type(vocab, id);
    std::string& bytes = parts.tokens[id].bytes;
    bytes = text;
    replace_text(kMetaspace, " ")(bytes, false);
    if (type == GgufTokenType::byte) {
      if (!spec.bytes) spec.bytes.emplace().fill(-1);
      SLUICE_TRY(const uint8_t byte, gguf_byte(vocab, id));
      (*spec.bytes)[byte] = static_cast<TokenId>(id);
      bytes.assign(1, static_cast<char>(byte));
    }
    if (type != GgufTokenType::normal) continue;
    const double score = source.from_sentencepiece ? vocab.scores[id] : score_as_read(vocab.scores[id]);
    spec.least_score = std::min(spec.least_score, score);
    if (forbidden.count(static_cast<TokenId>(id)) > 0) continue;
    crosses |= crosses_words(text);
    spec.pieces.push_back({text, score, static_cast<TokenId>(id)});
  }
  parts.model = std::make_unique<UnigramModel>(std::move(spec));
  if (source.from_sentencepiece) return add_sentencepiece_normalizer(source, parts);

  if (!vocab.character_map.empty()) {
    SLUICE_TRY(Normalizer::Step step, character_map(vocab.character_map, CharacterMapBy::grapheme));
    parts.normalizer.add(std::move(step), kDropsText);
  }
  if (vocab.remove_extra_whitespaces.value_or(false)) {
    parts.pre_tokenizer.add(split_at_characters(is_white_space, SplitBehavior::removed));
    parts.pre_tokenizer.drops_text = true;
  }
  const bool prefix = source.config.add_prefix_space.value_or(vocab.add_space_prefix.value_or(true));
  parts.pre_tokenizer.add(metaspace(kMetaspace, prefix ? PrependScheme::always : PrependScheme::never, !crosses));
  for (size_t id = 0; prefix && id < vocab.tokens.size(); ++id) {  // a space before the text is not shown
    std::string first = gguf_text(vocab, id);
    if (gguf_token_type(vocab, id) != GgufTokenType::normal || first.find(kMetaspace) == std::string::npos) continue;
    replace_text(kMetaspace, "")(first, false);
    parts.decoding.first[static_cast<TokenId>(id)] = std::move(first);
  }
  return {};
}

}  // namespace sluice
