#pragma once
// Which policies go together. Every pair that is not listed in combinations.cpp is supported: tests/property walks them
// all. A pair that is listed is refused, or one of the two does less than its name says; both say why.

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace sluice {

struct EngineOptions;

/// One choice: a flag and its value.
struct ChosenPolicy {
  std::string_view flag, value;
};

struct Combination {
  enum class Kind : uint8_t { refused, falls_back };
  ChosenPolicy one, other;
  Kind kind;
  std::string_view why;  // falls_back: and what happens instead
};
std::span<const Combination> combinations();

/// Refuses what the table does.
Status check_combinations(const EngineOptions& options);
/// What of these options falls back, a sentence each, for the start log.
std::vector<std::string> fallbacks(const EngineOptions& options);

}  // namespace sluice
