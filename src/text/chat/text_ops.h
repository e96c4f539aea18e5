#pragma once
// Python's str operations on marked text, shared by methods and filters. Each keeps every byte's mark.

#include <optional>

#include "text/chat/budget.h"
#include "text/chat/marked_text.h"
#include "text/chat/value.h"

namespace sluice::jinja {

enum class Case : uint8_t { upper, lower, folded, swap, title, capitalized };

/// Without the given characters (whitespace where null) at the chosen ends.
MarkedText strip(const MarkedText& text, const MarkedText* chars, bool left, bool right);
MarkedText change_case(const MarkedText& text, Case to, Budget& budget);
MarkedText replace(const MarkedText& text, const MarkedText& old, const MarkedText& with, int64_t count,
                   Budget& budget);
MarkedText join(const MarkedText& separator, const std::vector<MarkedText>& parts, Budget& budget);
/// At most `limit` cuts (any number where negative), from the right where asked. A null separator is whitespace.
std::vector<MarkedText> split(const MarkedText& text, const MarkedText* separator, int64_t limit, bool from_right,
                              Budget& budget);
std::vector<MarkedText> split_lines(const MarkedText& text, bool keep_ends, Budget& budget);
/// jinja2's indent filter.
MarkedText indent(const MarkedText& text, const MarkedText& by, bool first, bool blank, Budget& budget);

/// Last occurrence that ends at or before `end`; npos where there is none.
size_t find_last(std::string_view s, std::string_view needle, size_t end, Budget& budget);

Value list_of(std::vector<MarkedText> parts, Budget& budget);

}  // namespace sluice::jinja
