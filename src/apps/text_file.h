#pragma once
// Files that a command leaves behind: reports and fitted models.

#include <string>

#include "base/result.h"

namespace sluice {

/// Replaces the file's content. An error (io) names the file and the system's reason; the file may then be incomplete.
Status write_text_file(const std::string& path, const std::string& text);

}  // namespace sluice
