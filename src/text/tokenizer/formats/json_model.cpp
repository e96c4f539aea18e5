#include "text/tokenizer/formats/json_model.h"

#include "text/tokenizer/json_fields.h"

namespace sluice {
namespace {

using nlohmann::json;

constexpr JsonModelKind kJsonModelKinds[] = {
    {"BPE", [](const json& m) { return m.contains("merges"); }, build_json_bpe},
    {"WordPiece", [](const json& m) { return m.contains("continuing_subword_prefix"); }, build_json_word_piece},
    {"WordLevel", [](const json& m) { return m.contains("unk_token"); }, build_json_word_level},
    {"Unigram", [](const json& m) { return m.contains("unk_id"); }, build_json_unigram},
};

}  // namespace

Result<const JsonModelKind*> json_model_kind(const json& model) {
  const json* type = find_field(model, "type");
  std::string known;
  for (const JsonModelKind& kind : kJsonModelKinds) {
    if (type == nullptr ? kind.is_untyped(model) : type->is_string() && type->get_ref<const std::string&>() == kind.type) return &kind;
    if (!known.empty()) known += ", ";
    known += kind.type;
  }
  return unsupported(
      fmt::format("model of type {} (known: {})", type == nullptr ? "not given" : type->dump(), known));
}

std::optional<TokenId> id_in_vocabulary(const json& vocabulary, std::string_view spelling) {
  if (vocabulary.is_object()) {
    const auto it = vocabulary.find(spelling);
    if (it == vocabulary.end() || !it->is_number_integer()) return std::nullopt;
    return it->get<TokenId>();
  }
  for (size_t id = vocabulary.size(); id-- > 0;) {
    const json& entry = vocabulary[id];
    if (entry.is_array() && !entry.empty() && entry[0].is_string() && entry[0].get_ref<const std::string&>() == spelling)
      return static_cast<TokenId>(id);
  }
  return std::nullopt;
}

void for_each_spelling(const json& vocabulary, const std::function<void(std::string_view, TokenId)>& f) {
  if (vocabulary.is_object()) {
    for (auto it = vocabulary.begin(); it != vocabulary.end(); ++it) f(it.key(), it->get<TokenId>());
  } else {
    for (size_t id = 0; id < vocabulary.size(); ++id)
      f(vocabulary[id][0].get_ref<const std::string&>(), static_cast<TokenId>(id));
  }
}

Result<const json*> vocabulary_field(const json& model) {
  const json* vocabulary = find_field(model, "vocab");
  if (vocabulary == nullptr) return corrupt_data("no 'vocab'");
  return vocabulary;
}

Result<std::optional<TokenId>> unknown_token(const json& model) {
  const json* name = find_field(model, "unk_token");
  if (name == nullptr) return std::optional<TokenId>();
  SLUICE_TRY(const std::string spelling, string_field(model, "unk_token"));
  SLUICE_TRY(const json* vocabulary, vocabulary_field(model));
  return id_in_vocabulary(*vocabulary, spelling);
}

}  // namespace sluice
