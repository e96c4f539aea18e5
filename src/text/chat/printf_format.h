#pragma once
// Python's two string formatters: `"%s" % args` and `"{}".format(args)`.

#include "text/chat/budget.h"
#include "text/chat/value.h"

namespace sluice::jinja {

/// `format % args`: a tuple gives several arguments, a dict named ones, anything else is the only one.
MarkedText printf_format(const MarkedText& format, const Value& args, Budget& budget);
/// `format.format(*positional, **named)`, sandboxed: attributes and items resolve as in a template.
MarkedText brace_format(const MarkedText& format, const Arguments& args, Budget& budget);

/// Flags, width and precision, common to both.
struct FormatSpec {
  MarkedText fill{" ", true};
  char align = 0;  // '<', '>', '^', '=' or none
  char sign = '-';
  bool alternate = false;
  size_t width = 0;
  int precision = -1;
  char thousands = 0;  // ',', '_' or none
  char type = 0;
};

/// A number as `spec.type` writes it (d, x, o, b, e, f, g, %, ...), sign included, not padded.
std::string format_number(const Value& number, const FormatSpec& spec);
/// Pads to the width; `numeric` puts '=' fill after the sign.
MarkedText pad(MarkedText text, const FormatSpec& spec, char default_align, Budget& budget);

inline constexpr size_t kMaxFormatWidth = 1 << 16;

}  // namespace sluice::jinja
