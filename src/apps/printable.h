#pragma once
// Strings that come from files or servers, made harmless for a terminal.

#include <string>
#include <string_view>

namespace sluice {

/// `text` with control characters (C0, DEL and C1, NUL and ESC among them) and bytes that are not UTF-8 as \xNN, and a
/// line's end as \n unless `keep_lines`. What is left has no NUL, so that C strings hold all of it.
std::string printable(std::string_view text, bool keep_lines = false);

}  // namespace sluice
