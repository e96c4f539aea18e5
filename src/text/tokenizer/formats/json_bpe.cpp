// "BPE" of a tokenizer.json, over bytes (where the pre-tokenizer is byte-level) or characters.

#include <algorithm>

#include "text/tokenizer/formats/byte_level_vocab.h"
#include "text/tokenizer/formats/json_model.h"
#include "text/tokenizer/json_fields.h"
#include "text/tokenizer/utf8.h"

namespace sluice {
namespace {

using nlohmann::json;

bool is_byte_level(std::span<const MergeText> merges) {
  std::string bytes;
  for (const auto& [left, right] : merges) {
    bytes.clear();
    if (!append_byte_level(left, bytes) || !append_byte_level(right, bytes)) return false;
  }
  return true;
}

Result<std::string> optional_text(const json& model, const char* key) {
  if (find_field(model, key) == nullptr) return std::string();
  return string_field(model, key);
}

Status build_over_characters(const json& model, const SpelledTokens& vocabulary, std::span<const MergeText> merges,
                             BpeSpec spec, TokenizerParts& parts) {
  spec.unit = BpeSpec::Unit::character;
  SLUICE_TRY(const bool byte_fallback, bool_field(model, "byte_fallback", false));
  spec.forbidden = control_ids(parts.added);
  for (const auto& [spelling, id] : vocabulary) {
    if (static_cast<size_t>(id) >= parts.tokens.size()) parts.tokens.resize(static_cast<size_t>(id) + 1);
    const auto byte = byte_fallback ? spelled_byte(spelling) : std::nullopt;
    if (byte) spec.byte_fallback[*byte] = id;
    spec.pieces.add(spelling, id);
  }
  std::string merged;
  bool crosses = false;
  for (const auto& [left, right] : merges) {
    if (!right.starts_with(spec.prefix))
      return corrupt_data(fmt::format("merge {}: '{}' does not begin with the prefix '{}'", spec.merges.size(), right,
                                      spec.prefix));
    merged.assign(left).append(right.substr(spec.prefix.size()));
    SLUICE_TRY_STATUS(add_spelled_merge(spec, left, right, merged));
    crosses |= crosses_words(merged);
  }
  const bool has_space = spec.pieces.find(kMetaspace).has_value();
  if (has_space && !spec.ignore_merges && spec.prefix.empty() && spec.suffix.empty() && !crosses)
    parts.pre_tokenizer.add(cut_before(kMetaspace));
  parts.model = std::make_unique<BpeModel>(std::move(spec));
  return {};
}

}  // namespace

Result<std::vector<MergeText>> json_merges(const json& model) {
  const json* list = find_field(model, "merges");
  if (list == nullptr || !list->is_array()) return corrupt_data("'merges' is not a list");
  std::vector<MergeText> merges;
  merges.reserve(list->size());
  for (const json& entry : *list) {
    if (entry.is_string()) {
      const std::string& line = entry.get_ref<const std::string&>();
      if (line.starts_with("#version")) continue;
      SLUICE_TRY(const MergeText merge, split_merge(line, merges.size()));
      merges.push_back(merge);
    } else if (entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_string()) {
      merges.emplace_back(entry[0].get_ref<const std::string&>(), entry[1].get_ref<const std::string&>());
    } else {
      return corrupt_data(fmt::format("merge {} is neither a string nor a pair of strings", merges.size()));
    }
  }
  return merges;
}

Status build_json_bpe(const json& model, TokenizerParts& parts) {
  SLUICE_TRY(const json* vocab, vocabulary_field(model));
  SLUICE_TRY(const SpelledTokens vocabulary, parse_vocabulary(*vocab));
  SLUICE_TRY(const std::vector<MergeText> merges, json_merges(model));
  const json* dropout = find_field(model, "dropout");
  if (dropout != nullptr && (!dropout->is_number() || *dropout != 0))
    return unsupported("'dropout' other than 0 makes tokens random");
  BpeSpec spec;
  SLUICE_TRY(spec.unknown, unknown_token(model));
  SLUICE_TRY(spec.fuse_unknown, bool_field(model, "fuse_unk", false));
  SLUICE_TRY(spec.ignore_merges, bool_field(model, "ignore_merges", false));
  SLUICE_TRY(spec.prefix, optional_text(model, "continuing_subword_prefix"));
  SLUICE_TRY(spec.suffix, optional_text(model, "end_of_word_suffix"));
  const bool plain = spec.prefix.empty() && spec.suffix.empty() && !spec.unknown;
  if (parts.pre_tokenizer.byte_level && plain && is_byte_level(merges))
    return set_byte_level_bpe(parts, vocabulary, merges, spec.ignore_merges, std::nullopt);
  if (parts.pre_tokenizer.byte_level) parts.pre_tokenizer.spell_bytes();
  return build_over_characters(model, vocabulary, merges, std::move(spec), parts);
}

}  // namespace sluice
