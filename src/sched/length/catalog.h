#pragma once
#include <memory>
#include <span>
#include <string_view>

#include "sched/policies.h"

namespace sluice {

/// One line per technique; `--length-predictor NAME`.
struct LengthPredictorEntry {
  std::string_view name, help;
  std::unique_ptr<LengthPredictor> (*make)();
};
std::span<const LengthPredictorEntry> length_predictor_catalog();

}  // namespace sluice
