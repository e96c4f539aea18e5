#pragma once
// Variables SLUICE_... that nothing reads, as a misspelled flag is: said once at the start instead of ignored.

#include <functional>

namespace sluice {

/// Prints a line to standard error for every variable of the environment that begins with SLUICE_ and is neither a flag
/// of one of the commands, which `run_all` runs, nor read elsewhere; it names the closest that is known. A variable of
/// another command is no mistake: one environment serves them all.
void warn_of_unread_variables(const std::function<void()>& run_all);

}  // namespace sluice
