#pragma once
// How far apart two names are: what was meant by one that nobody knows.

#include <cstddef>
#include <string_view>

namespace sluice {

/// How many characters must be put in, taken out or replaced to make one the other (Levenshtein).
size_t edit_distance(std::string_view a, std::string_view b);

}  // namespace sluice
