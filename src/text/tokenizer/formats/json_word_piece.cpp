// "WordPiece" of a tokenizer.json.

#include "text/tokenizer/formats/byte_level_vocab.h"
#include "text/tokenizer/formats/json_model.h"
#include "text/tokenizer/json_fields.h"
#include "text/tokenizer/models/word_piece.h"

namespace sluice {

using nlohmann::json;

Status build_json_word_piece(const json& model, TokenizerParts& parts) {
  SLUICE_TRY(const json* vocab, vocabulary_field(model));
  SLUICE_TRY(const SpelledTokens vocabulary, parse_vocabulary(*vocab));
  WordPieceSpec spec;
  if (find_field(model, "continuing_subword_prefix") != nullptr) {
    SLUICE_TRY(spec.prefix, string_field(model, "continuing_subword_prefix"));
  }
  if (find_field(model, "max_input_chars_per_word") != nullptr) {
    SLUICE_TRY(const int64_t longest, int_field(model, "max_input_chars_per_word"));
    if (longest < 0) return corrupt_data(fmt::format("'max_input_chars_per_word' is {}", longest));
    spec.longest_word = static_cast<size_t>(longest);
  }
  SLUICE_TRY(const auto unknown, unknown_token(model));
  if (!unknown) return corrupt_data("'unk_token' is not in the vocabulary, and words may be unknown");
  spec.unknown = *unknown;
  const auto forbidden = control_ids(parts.added);
  for (const auto& [spelling, id] : vocabulary) {
    if (static_cast<size_t>(id) >= parts.tokens.size()) parts.tokens.resize(static_cast<size_t>(id) + 1);
    if (forbidden.count(id) == 0) spec.pieces.emplace_back(spelling, id);
  }
  if (parts.pre_tokenizer.byte_level) parts.pre_tokenizer.spell_bytes();
  parts.model = std::make_unique<WordPieceModel>(std::move(spec));
  return {};
}

}  // namespace sluice
