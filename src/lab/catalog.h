#pragma once
#include <span>
#include <string_view>
#include <vector>

#include "lab/experiment.h"

namespace sluice::lab {

/// Every experiment, in the document's order; those of a group stand together.
std::span<const Experiment* const> catalog();
/// Those that a name, a group or an id of the surveys' catalogue means; the error lists what there is.
Result<std::vector<const Experiment*>> find_experiments(std::string_view name);

}  // namespace sluice::lab
