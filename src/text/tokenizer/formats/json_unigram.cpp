// "Unigram" of a tokenizer.json: a list of [text, log-probability].

#include <algorithm>
#include <cmath>

#include "text/tokenizer/formats/json_model.h"
#include "text/tokenizer/json_fields.h"
#include "text/tokenizer/models/unigram.h"
#include "text/tokenizer/utf8.h"

namespace sluice {

using nlohmann::json;

Status build_json_unigram(const json& model, TokenizerParts& parts) {
  SLUICE_TRY(const json* vocab, vocabulary_field(model));
  if (!vocab->is_array() || vocab->size() >= INT32_MAX) return corrupt_data("'vocab' is not a list of [text, score]");
  UnigramSpec spec;
  spec.least_score = std::numeric_limits<double>::infinity();
  SLUICE_TRY(const bool byte_fallback, bool_field(model, "byte_fallback", false));
  if (byte_fallback) spec.bytes.emplace().fill(-1);
  const auto forbidden = control_ids(parts.added);
  for (size_t i = 0; i < vocab->size(); ++i) {
    const json& entry = (*vocab)[i];
    if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_number())
      return corrupt_data(fmt::format("entry {} of 'vocab' is not [text, score]", i));
    const auto id = static_cast<TokenId>(i);
    UnigramSpec::Piece piece{entry[0].get<std::string>(), score_as_read(entry[1].get<double>()), id};
    if (std::isnan(piece.score)) return corrupt_data(fmt::format("the score of token {} is not a number", i));
    spec.least_score = std::min(spec.least_score, piece.score);
    const auto byte = byte_fallback ? spelled_byte(piece.text) : std::nullopt;
    if (byte) (*spec.bytes)[*byte] = id;
    const bool single = !piece.text.empty() && piece.text.size() == utf8_length(static_cast<unsigned char>(piece.text[0]));
    if (forbidden.count(id) == 0 || single) spec.pieces.push_back(std::move(piece));
  }
  if (find_field(model, "unk_id") != nullptr) {
    SLUICE_TRY(const int64_t unknown, int_field(model, "unk_id"));
    if (unknown < 0 || static_cast<size_t>(unknown) >= vocab->size())
      return corrupt_data(fmt::format("'unk_id' is {}, the vocabulary has {} tokens", unknown, vocab->size()));
    spec.unknown = static_cast<TokenId>(unknown);
  }
  if (parts.pre_tokenizer.byte_level) parts.pre_tokenizer.spell_bytes();
  parts.tokens.resize(vocab->size());
  parts.model = std::make_unique<UnigramModel>(std::move(spec));
  return {};
}

}  // namespace sluice
