// "bert": WordPiece. GGUF spells pieces that begin a word with U+2581 before them, and those that continue one without
// their prefix.

#include <algorithm>

#include "text/tokenizer/formats/gguf_model.h"
#include "text/tokenizer/models/word_piece.h"
#include "text/tokenizer/unicode_classes.h"
#include "text/tokenizer/utf8.h"

namespace sluice {
namespace {

bool begins_word(std::string_view text) { return text.starts_with(kMetaspace) && text.size() > 3; }

/// A file need not say that text is to be in lower case, but its vocabulary shows it.
bool has_upper_case(const GgufVocab& vocab) {
  return std::any_of(vocab.tokens.begin(), vocab.tokens.end(), [](const std::string& text) {
    return begins_word(text) && text[3] >= 'A' && text[3] <= 'Z';
  });
}

}  // namespace

Status build_gguf_bert(const GgufSource& source, TokenizerParts& parts) {
  const GgufVocab& vocab = source.vocab;
  WordPieceSpec spec;
  if (!vocab.unk) return corrupt_data("tokenizer.ggml.unknown_token_id is missing, and words may be unknown");
  spec.unknown = *vocab.unk;
  Decoder decoder;
  decoder.place_matters = true;
  decoder.add([](std::string& text, TokenPlace place) {
    if (begins_word(text))
      text.replace(0, 3, place.first ? "" : " ");
    clean_up_spaces(text);
  });
  for (size_t id = 0; id < vocab.tokens.size(); ++id) {
    const std::string text = gguf_text(vocab, id);
    decoder.decode(text, static_cast<TokenId>(id), parts.tokens[id].bytes, parts.decoding);
    if (gguf_token_type(vocab, id) != GgufTokenType::normal) continue;
    if (begins_word(text))
      spec.pieces.emplace_back(text.substr(3), static_cast<TokenId>(id));
    else if (!(text.starts_with('[') && text.ends_with(']') && text.size() > 2))
      spec.pieces.emplace_back(spec.prefix + text, static_cast<TokenId>(id));
  }
  parts.model = std::make_unique<WordPieceModel>(std::move(spec));
  BertCleaning cleaning;
  cleaning.lowercase = vocab.lowercase.value_or(!has_upper_case(vocab));
  cleaning.strip_accents = vocab.strip_accents.value_or(cleaning.lowercase);
  parts.normalizer.add(bert_cleaning(cleaning), kDropsText);
  parts.pre_tokenizer.add(split_at_characters(is_white_space, SplitBehavior::removed));
  parts.pre_tokenizer.add(split_at_characters(is_punctuation, SplitBehavior::isolated));
  parts.pre_tokenizer.drops_text = true;
  return {};
}

}  // namespace sluice
