#include "lab/experiment.h"

#include <algorithm>

namespace sluice::lab {

Finding::State Finding::state() const {
  if (!std::ranges::all_of(checks, &Check::held)) return State::not_held;
  if (!absent_.empty()) return State::precondition_absent;
  return effect.none() || effect.timed || effect.as_expected() ? State::held : State::not_held;
}

}  // namespace sluice::lab
