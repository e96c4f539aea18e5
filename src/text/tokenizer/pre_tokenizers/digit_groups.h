#pragma once
// Digits in groups of three counted from the right, as people write them. Files ask for them with patterns that look
// ahead to the end of the number from every digit, in quadratic time; here a number is looked at once.

#include <string_view>

#include "text/tokenizer/pre_tokenizers/pre_tokenizer.h"

namespace sluice {

/// Of a number that a letter follows at once (no word boundary there) nothing is grouped.
inline constexpr std::string_view kGroupsBeforeBoundary = R"(\d{1,3}(?=(?:\d{3})*\b))";
/// Cuts only between groups.
inline constexpr std::string_view kBetweenGroups = R"((?=(\d{3})+(?!\d)))";
/// Every number, whatever follows.
inline constexpr std::string_view kGroupsFromTheRight = R"(\d{1,3}(?=(?:\d{3})*(?!\d)))";

/// The step that isolates the matches of one of these patterns; empty for any other.
PreTokenizer::Step digit_groups_for(std::string_view pattern);

}  // namespace sluice
