#pragma once
// Patterns that take quadratic time as they stand: they look ahead over all that is left from each of many places. For these
// there are scanners that look at every character a bounded number of times and find the same matches.

#include <string_view>

#include "text/tokenizer/pre_tokenizers/pre_tokenizer.h"

namespace sluice {

// Digits in groups of three counted from the right, as people write them (digit_groups.cpp). Of a number that a letter
// follows at once, where there is no word boundary, nothing is grouped.
inline constexpr std::string_view kGroupsBeforeBoundary = R"(\d{1,3}(?=(?:\d{3})*\b))";
inline constexpr std::string_view kBetweenGroups = R"((?=(\d{3})+(?!\d)))";
inline constexpr std::string_view kGroupsFromTheRight = R"(\d{1,3}(?=(?:\d{3})*(?!\d)))";
// White space at the ends of lines (line_ends.cpp).
inline constexpr std::string_view kLineEnds = R"(\s+$)";
// As Llama 3, with runs of white space of fixed sizes (space_sizes.cpp).
inline constexpr std::string_view kSpaceSizes =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|)"
    R"(\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)|\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)|)"
    R"(\s{1,2}(?!\S)|\s{1})";

/// The step that isolates the matches of one of these patterns; empty for any other.
PreTokenizer::Step scanner_for(std::string_view pattern);

// One file each.
PreTokenizer::Step groups_before_boundary();
PreTokenizer::Step between_groups();
PreTokenizer::Step groups_from_the_right();
PreTokenizer::Step line_ends();
PreTokenizer::Step space_sizes();

}  // namespace sluice
