#include "text/tokenizer/formats/byte_level_vocab.h"

#include "text/tokenizer/json_fields.h"
#include "text/tokenizer/utf8.h"

namespace sluice {

using nlohmann::json;

Result<SpelledTokens> parse_vocabulary(const json& object) {
  if (!object.is_object()) return corrupt_data("the vocabulary is not an object of token ids");
  SpelledTokens out;
  out.reserve(object.size());
  const auto limit = static_cast<int64_t>(2 * object.size() + (1 << 16));
  for (auto it = object.begin(); it != object.end(); ++it) {
    const std::string& text = it.key();
    const json& id = *it;
    if (!id.is_number_integer()) return corrupt_data(fmt::format("the id of token '{}' is not an integer", text));
    const int64_t value = id.get<int64_t>();
    if (value < 0 || value >= limit)
      return corrupt_data(fmt::format("the id of token '{}' is {}, expected [0, {})", text, value, limit));
    out.emplace_back(text, static_cast<TokenId>(value));
  }
  return out;
}

Result<MergeText> split_merge(std::string_view line, size_t index) {
  const size_t space = line.find(' ', 1);
  if (line.empty() || space == std::string_view::npos || space + 1 == line.size())
    return corrupt_data(fmt::format("merge {}: '{}' is not two tokens with a space between", index,
                                    to_valid_utf8(line.substr(0, 100))));
  return MergeText(line.substr(0, space), line.substr(space + 1));
}

Status set_byte_level_bpe(TokenizerParts& parts, const SpelledTokens& vocabulary, std::span<const MergeText> merges,
                          bool ignore_merges, std::optional<TokenId> unknown) {
  BpeSpec spec;
  spec.ignore_merges = ignore_merges;
  spec.unknown = unknown;
  spec.forbidden = control_ids(parts.added);
  spec.pieces.reserve(vocabulary.size());
  std::string bytes;
  for (const auto& [spelling, id] : vocabulary) {
    if (static_cast<size_t>(id) >= parts.tokens.size()) parts.tokens.resize(static_cast<size_t>(id) + 1);
    bytes.clear();
    const bool spelled = append_byte_level(spelling, bytes);
    parts.tokens[static_cast<size_t>(id)].bytes = spelled ? std::string_view(bytes) : spelling;
    if (spelled) spec.pieces.add(bytes, id);  // another spelling is no piece of any text
  }
  spec.merges.reserve(merges.size());
  for (const auto& [left, right] : merges) {
    bytes.clear();
    const auto refused = [&](std::string_view side) {
      return corrupt_data(
          fmt::format("merge {}: '{}' is not in the byte-level alphabet", spec.merges.size(), side));
    };
    if (!append_byte_level(left, bytes)) return refused(left);
    const size_t left_bytes = bytes.size();
    if (!append_byte_level(right, bytes)) return refused(right);
    SLUICE_TRY_STATUS(add_ranked_merge(spec, bytes, left_bytes));
  }
  parts.model = std::make_unique<BpeModel>(std::move(spec));
  return {};
}

}  // namespace sluice
