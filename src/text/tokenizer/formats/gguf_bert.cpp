// "bert": WordPiece. GGUF spells pieces that begin a word with U+2581 before them, and those that continue one without
// their prefix.

#include <algorithm>

#include "text/tokenizer/formats/gguf_model.h"
#include "text/tokenizer/models/word_piece.h"
#include "text/tokenizer/unicode_classes.h"
#include "text/tokenizer/utf8.h"

namespace sluice {
namespace {

constexpr size_t kMetaspaceBytes = std::string_view(kMetaspace).size();

bool begins_word(std::string_view text) { return text.starts_with(kMetaspace) && text.size() > kMetaspaceBytes; }

/// A file need not say that text is to be in lower case, but its vocabulary shows it.
bool has_upper_case(const GgufVocab& vocab) {
  return std::any_of(vocab.tokens.begin(), vocab.tokens.end(), [](const std::string& text) {
    return begins_word(text) && text[kMetaspaceBytes] >= 'A' && text[kMetaspaceBytes] <= 'Z';
  });
}

}  // namespace

BertCleaning gguf_bert_cleaning(const GgufVocab& vocab) {
  BertCleaning cleaning;
  cleaning.lowercase = vocab.lowercase.value_or(!has_upper_case(vocab));
  cleaning.strip_accents = vocab.strip_accents.value_or(cleaning.lowercase);
  return cleaning;
}

std::string word_piece_spelling(std::string_view gguf, std::string_view prefix) {
  if (begins_word(gguf)) return std::string(gguf.substr(kMetaspaceBytes));
  if (gguf.starts_with('[') && gguf.ends_with(']') && gguf.size() > 2) return std::string(gguf);
  return std::string(prefix).append(gguf);
}

Status build_gguf_bert(const GgufSource& source, TokenizerParts& parts) {
  const GgufVocab& vocab = source.vocab;
  WordPieceSpec spec;
  const std::optional<TokenId> unknown = gguf_unknown(vocab);
  if (!unknown) return corrupt_data("tokenizer.ggml.unknown_token_id is missing, and words may be unknown");
  spec.unknown = *unknown;
  TokenDecoder decoder;
  add_word_piece_step(decoder, spec.prefix, true);
  for (size_t id = 0; id < vocab.tokens.size(); ++id) {
    const bool piece = gguf_token_type(vocab, id) == GgufTokenType::normal;
    const std::string text = piece ? word_piece_spelling(gguf_text(vocab, id), spec.prefix) : gguf_text(vocab, id);
    decoder.decode(text, static_cast<TokenId>(id), parts.tokens[id].bytes, parts.decoding);
    if (piece) spec.pieces.emplace_back(text, static_cast<TokenId>(id));
  }
  parts.model = std::make_unique<WordPieceModel>(std::move(spec));
  parts.normalizer.add(bert_cleaning(gguf_bert_cleaning(vocab)), kDropsText);
  parts.pre_tokenizer.add(split_at_characters(is_white_space, SplitBehavior::removed));
  parts.pre_tokenizer.add(split_at_characters(is_punctuation, SplitBehavior::isolated));
  parts.pre_tokenizer.drops_text = true;
  return {};
}

}  // namespace sluice
