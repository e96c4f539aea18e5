#pragma once
// The "model" of a tokenizer.json.

#include <functional>
#include <nlohmann/json.hpp>

#include <optional>
#include <string>

#include "base/result.h"
#include "text/tokenizer/models/bpe.h"
#include "text/tokenizer/tokenizer_parts.h"

namespace sluice {

struct JsonModelKind {
  std::string_view type;
  bool (*is_untyped)(const nlohmann::json& model);  // a model without a "type" is of this kind (old files)
  /// Sets parts.model, and sizes parts.tokens. Everything else in `parts` is there; pre_tokenizer may be adapted to it.
  Status (*build)(const nlohmann::json& model, TokenizerParts& parts);
};

/// The kind of the model; the error names those that are known.
Result<const JsonModelKind*> json_model_kind(const nlohmann::json& model);
/// The id of the token spelled so in the vocabulary, which is an object of ids or a list of [text, score].
std::optional<TokenId> id_in_vocabulary(const nlohmann::json& vocabulary, std::string_view spelling);
/// Calls f(spelling, id) for every token. The vocabulary has been checked by building the model.
void for_each_spelling(const nlohmann::json& vocabulary, const std::function<void(std::string_view, TokenId)>& f);

// One file each.
Status build_json_bpe(const nlohmann::json& model, TokenizerParts& parts);
Status build_json_unigram(const nlohmann::json& model, TokenizerParts& parts);
Status build_json_word_level(const nlohmann::json& model, TokenizerParts& parts);
Status build_json_word_piece(const nlohmann::json& model, TokenizerParts& parts);

/// The merges of a BPE model, which holds the texts: strings, or pairs of them.
Result<std::vector<MergeText>> json_merges(const nlohmann::json& model);
/// The model's vocabulary object; and the id of its unknown token, which may be absent.
Result<const nlohmann::json*> vocabulary_field(const nlohmann::json& model);
Result<std::optional<TokenId>> unknown_token(const nlohmann::json& model);

}  // namespace sluice
