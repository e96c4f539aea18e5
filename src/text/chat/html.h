#pragma once
// HTML's escapes, as the package markupsafe and Python's html.unescape have them.

#include "text/chat/budget.h"
#include "text/chat/marked_text.h"

namespace sluice::jinja {

/// & < > ' " as references.
MarkedText escape_html(const MarkedText& text, Budget& budget);
/// Named and numeric references as their characters, each with the mark of its '&'.
MarkedText unescape_html(const MarkedText& text, Budget& budget);

}  // namespace sluice::jinja
