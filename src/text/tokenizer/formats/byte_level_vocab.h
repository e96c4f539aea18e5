#pragma once
// What the loaders of byte-level vocabularies share: spelled tokens and merges to a BPE model.

#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "text/tokenizer/models/bpe.h"
#include "text/tokenizer/tokenizer_parts.h"

namespace sluice {

/// (spelling, id), ids checked to be not far beyond the number of entries.
using SpelledTokens = std::vector<std::pair<std::string_view, TokenId>>;
/// A vocabulary object {"spelling": id, ...}, which holds the spellings.
Result<SpelledTokens> parse_vocabulary(const nlohmann::json& object);

/// "left right", at the first space after the first character.
Result<MergeText> split_merge(std::string_view line, size_t index);

/// Sets parts.tokens (bytes decoded) and parts.model of a byte-level BPE; parts.added must be complete.
Status set_byte_level_bpe(TokenizerParts& parts, const SpelledTokens& vocabulary,
                          std::span<const MergeText> merges, bool ignore_merges, std::optional<TokenId> unknown);

}  // namespace sluice
