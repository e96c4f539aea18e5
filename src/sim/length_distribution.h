#pragma once
// Lengths drawn from a named distribution, for traces that do not say how long the answers were.

#include <string>

#include "base/result.h"
#include "base/rng.h"

namespace sluice {

struct LengthDistribution {
  enum class Kind : uint8_t { constant, uniform, exponential, lognormal };
  Kind kind = Kind::constant;
  double a = 1, b = 0;  // constant: tokens; uniform: least, most; exponential: mean; lognormal: mu and sigma of the logarithm

  /// "constant:64", "uniform:16,256", "exponential:128", "lognormal:5.0,0.8". Errors list these.
  static Result<LengthDistribution> parse(const std::string& text, const char* flag);
  /// At least 1 and at most 1e6 tokens.
  int draw(Rng& rng) const;
};

}  // namespace sluice
