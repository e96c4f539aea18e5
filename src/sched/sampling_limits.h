#pragma once
// What the sampling parameters of a request may be: one table for request bodies, command lines and
// generation_config.json.

#include <fmt/core.h>

#include <string>

#include "sched/request.h"

namespace sluice {

struct NumberLimits {
  const char* name;  // of the request's field
  double low, high;
  bool above_low = false;  // `low` itself is out

  bool allow(double value) const { return value >= low && value <= high && !(above_low && value == low); }
  /// "a number from 0 to 1, above 0"
  std::string text() const {
    return fmt::format("a number from {:g} to {:g}", low, high) + (above_low ? fmt::format(", above {:g}", low) : "");
  }
};

inline constexpr NumberLimits kTemperatureLimits{"temperature", 0, 100};
inline constexpr NumberLimits kTopPLimits{"top_p", 0, 1, true};
inline constexpr NumberLimits kMinPLimits{"min_p", 0, 1};
inline constexpr NumberLimits kRepetitionPenaltyLimits{"repetition_penalty", 0.001, 10};
inline constexpr NumberLimits kPresencePenaltyLimits{"presence_penalty", -2, 2};
inline constexpr NumberLimits kFrequencyPenaltyLimits{"frequency_penalty", -2, 2};
inline constexpr NumberLimits kLengthPenaltyLimits{"length_penalty", -10, 10};
inline constexpr int kLowestTopK = -1;  // -1 and 0: off

/// What is allowed and means the same as a plainer value gets that: top_k -1 is 0, and a temperature next to 0 is
/// greedy, as in vLLM.
inline void settle_sampling(SamplingParams& sampling) {
  if (sampling.temperature < 1e-5f) sampling.temperature = 0;
  if (sampling.top_k < 0) sampling.top_k = 0;
}

}  // namespace sluice
