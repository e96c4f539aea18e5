#pragma once
#include <string>
#include <vector>

#include "lab/report.h"

namespace sluice::lab {

/// One bar per experiment that has an effect: how many times better the technique is than its baseline, on a
/// logarithmic axis, groups together. An SVG of its own.
std::string gain_plot(const std::vector<Entry>& entries);

}  // namespace sluice::lab
