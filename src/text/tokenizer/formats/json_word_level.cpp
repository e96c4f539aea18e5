// "WordLevel" of a tokenizer.json.

#include "text/tokenizer/formats/byte_level_vocab.h"
#include "text/tokenizer/formats/json_model.h"
#include "text/tokenizer/models/word_level.h"

namespace sluice {

Status build_json_word_level(const nlohmann::json& model, TokenizerParts& parts) {
  SLUICE_TRY(const nlohmann::json* vocab, vocabulary_field(model));
  SLUICE_TRY(const SpelledTokens vocabulary, parse_vocabulary(*vocab));
  SLUICE_TRY(const auto unknown, unknown_token(model));
  const auto forbidden = control_ids(parts.added);
  PieceTable words;
  for (const auto& [spelling, id] : vocabulary) {
    if (static_cast<size_t>(id) >= parts.tokens.size()) parts.tokens.resize(static_cast<size_t>(id) + 1);
    if (forbidden.count(id) == 0) words.add(spelling, id);
  }
  if (parts.pre_tokenizer.byte_level) parts.pre_tokenizer.spell_bytes();
  parts.model = std::make_unique<WordLevelModel>(std::move(words), unknown);
  return {};
}

}  // namespace sluice
