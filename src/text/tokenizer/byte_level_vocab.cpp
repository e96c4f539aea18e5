#include "text/tokenizer/byte_level_vocab.h"

#include "text/tokenizer/json_fields.h"
#include "text/tokenizer/utf8.h"

namespace sluice {

using nlohmann::json;

Result<SpelledTokens> parse_vocabulary(const json& object) {
  if (!object.is_object()) return corrupt_data("the vocabulary is not an object of token ids");
  SpelledTokens out;
  out.reserve(object.size());
  const auto limit = static_cast<int64_t>(2 * object.size() + (1 << 16));
  for (const auto& [text, id] : object.items()) {
    if (!id.is_number_integer()) return corrupt_data(fmt::format("the id of token '{}' is not an integer", text));
    const int64_t value = id.get<int64_t>();
    if (value < 0 || value >= limit)
      return corrupt_data(fmt::format("the id of token '{}' is {}, expected [0, {})", text, value, limit));
    out.emplace_back(text, static_cast<TokenId>(value));
  }
  return out;
}

Result<std::pair<std::string, std::string>> split_merge(const std::string& line, size_t index) {
  const size_t space = line.find(' ', 1);
  if (line.empty() || space == std::string::npos || space + 1 == line.size())
    return corrupt_data(fmt::format("merge {}: '{}' is not two tokens with a space between", index,
                                    to_valid_utf8(line.substr(0, 100))));
  return std::pair(line.substr(0, space), line.substr(space + 1));
}

Status set_byte_level_bpe(TokenizerParts& parts, const SpelledTokens& vocabulary,
                          std::vector<std::pair<std::string, std::string>> merges, bool ignore_merges,
                          std::optional<TokenId> unknown) {
  BpeSpec spec;
  spec.ignore_merges = ignore_merges;
  spec.unknown = unknown;
  spec.forbidden = control_ids(parts.added);
  for (const auto& [spelling, id] : vocabulary) {
    if (static_cast<size_t>(id) >= parts.tokens.size()) parts.tokens.resize(static_cast<size_t>(id) + 1);
    auto bytes = byte_level_to_bytes(spelling);
    parts.tokens[static_cast<size_t>(id)].bytes = bytes ? *bytes : spelling;
    if (bytes) spec.pieces.emplace(std::move(*bytes), id);  // another spelling is no piece of any text
  }
  for (size_t i = 0; i < merges.size(); ++i) {
    for (std::string* side : {&merges[i].first, &merges[i].second}) {
      auto bytes = byte_level_to_bytes(*side);
      if (!bytes) return corrupt_data(fmt::format("merge {}: '{}' is not in the byte-level alphabet", i, *side));
      *side = std::move(*bytes);
    }
  }
  SLUICE_TRY_STATUS(add_ranked_merges(spec, merges));
  parts.model = std::make_unique<BpeModel>(std::move(spec));
  return {};
}

}  // namespace sluice
