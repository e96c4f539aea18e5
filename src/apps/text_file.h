#pragma once
// Files that a command leaves behind: reports, fitted models and measurements.

#include <string>

#include "base/result.h"

namespace sluice {

/// Replaces the file's content. An error (io) names the file and the system's reason; the file may then be incomplete.
Status write_text_file(const std::string& path, const std::string& text);
/// The same in one step: whoever reads the file finds the old content or the new one, whole.
Status replace_text_file(const std::string& path, const std::string& text);

}  // namespace sluice
