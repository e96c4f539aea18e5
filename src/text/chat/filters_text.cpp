// Filters that make text or numbers of one value.
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>

#include "text/chat/operators.h"
#include "text/chat/printf_format.h"
#include "text/chat/runtime.h"
#include "text/chat/text_ops.h"
#include "text/chat/unicode.h"

namespace sluice::jinja {
namespace {

template <Case to>
Value with_case(Runtime& runtime, const Value& in, const Arguments& args) {
  const Bound bound("case", args, {});
  return change_case(to_text(in, runtime.budget), to, runtime.budget);
}

/// jinja2's own title: a word starts after whitespace or one of -({[<, and keeps no capitals inside.
Value title(Runtime& runtime, const Value& in, const Arguments& args) {
  const Bound bound("title", args, {});
  const MarkedText text = to_text(in, runtime.budget);
  const std::string& s = text.bytes();
  MarkedText out;
  bool first = true;
  for (size_t i = 0; i < s.size();) {
    const auto c = code_point_at(s, i);
    const bool separator =
        is_space(c.value) || (c.value < 0x80 && std::string_view("-({[<").find(s[i]) != std::string::npos);
    out.append(separator ? s.substr(i, c.bytes) : first ? to_upper(c.value) : to_lower(c.value), text.trusted_at(i));
    first = separator;
    i += c.bytes;
  }
  return out;
}

Value trim(Runtime& runtime, const Value& in, const Arguments& args) {
  const Bound bound("trim", args, {"chars"});
  return strip(to_text(in, runtime.budget), bound.text(0), true, true);
}

Value replace_filter(Runtime& runtime, const Value& in, const Arguments& args) {
  const Bound bound("replace", args, {"old", "new", "count"});
  const bool limited = bound[2] != nullptr && !bound[2]->is_none();
  return replace(to_text(in, runtime.budget), to_text(bound.required(0), runtime.budget),
                 to_text(bound.required(1), runtime.budget), limited ? bound.integer(2, -1) : -1, runtime.budget);
}

Value indent_filter(Runtime& runtime, const Value& in, const Arguments& args) {
  const Bound bound("indent", args, {"width", "first", "blank"});
  in.defined();
  if (!in.is_text()) fail_type(fmt::format("indent takes a string, not {}", in.type_name()));
  MarkedText by;
  if (bound[0] != nullptr && bound[0]->is_text()) {
    by = bound[0]->text();
  } else {
    const int64_t width = std::max<int64_t>(bound.integer(0, 4), 0);
    if (width > static_cast<int64_t>(kMaxFormatWidth)) fail_limit("an indentation above 65536");
    by = MarkedText(std::string(static_cast<size_t>(width), ' '), true);
  }
  return indent(in.text(), by, bound.flag(1, false), bound.flag(2, false), runtime.budget);
}

Value center(Runtime& runtime, const Value& in, const Arguments& args) {
  const Bound bound("center", args, {"width"});
  bool found = false;
  const Value text = to_text(in, runtime.budget);
  return call_value(runtime, find_method(text, "center", found), {{Value(bound.integer(0, 80))}, {}});
}

Value string(Runtime& runtime, const Value& in, const Arguments& args) {
  const Bound bound("string", args, {});
  return in.is_text() ? in : Value(to_text(in, runtime.budget));
}

Value format(Runtime& runtime, const Value& in, const Arguments& args) {
  if (!args.positional.empty() && !args.named.empty())
    fail("FilterArgumentError", "can't handle positional and keyword arguments at the same time");
  if (args.named.empty())
    return printf_format(to_text(in, runtime.budget), make_tuple(args.positional), runtime.budget);
  Dict named;
  for (const auto& [name, value] : args.named) named.set(Value::literal(name), value);
  return printf_format(to_text(in, runtime.budget), make_dict(std::move(named)), runtime.budget);
}

/// A number written as Python's int(text, base) or float(text) reads it, or nothing.
std::string plain_digits(const Value& text) {
  std::string out;
  const MarkedText stripped = strip(text.text(), nullptr, true, true);
  for (const char c : stripped.bytes())
    if (c != '_') out += c;
  return out;
}

std::optional<double> parse_double(const std::string& s) {
  if (s.empty() || s.find_first_of("xXpP(") != std::string::npos) return std::nullopt;
  char* end = nullptr;
  const double d = std::strtod(s.c_str(), &end);
  return end == s.c_str() + s.size() ? std::optional(d) : std::nullopt;
}

std::optional<int64_t> parse_int(std::string s, int64_t base) {
  if (base < 2 || base > 36) return std::nullopt;
  const bool negative = s.starts_with('-');
  if (negative || s.starts_with('+')) s.erase(0, 1);
  const char prefix = base == 16 ? 'x' : base == 8 ? 'o' : base == 2 ? 'b' : 0;
  if (prefix != 0 && s.size() > 2 && s[0] == '0' && (s[1] | 0x20) == prefix) s.erase(0, 2);
  if (s.empty() || s[0] == '-') return std::nullopt;
  int64_t value = 0;
  const auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), value, static_cast<int>(base));
  if (end != s.data() + s.size()) return std::nullopt;
  if (error != std::errc()) fail_unsupported("an integer beyond 64 bits");
  return negative ? -value : value;
}

Value from_double(double d, const Value& otherwise) {
  if (!std::isfinite(d)) return otherwise;
  if (std::fabs(d) >= 9.2e18) fail_unsupported("an integer beyond 64 bits");
  return static_cast<int64_t>(d);
}

Value to_int(Runtime&, const Value& in, const Arguments& args) {
  const Bound bound("int", args, {"default", "base"});
  const Value otherwise = bound[0] != nullptr ? *bound[0] : Value(0);
  in.defined();
  if (in.is_integral()) return in.integer();
  if (in.is_double()) return from_double(in.real(), otherwise);
  if (!in.is_text()) return otherwise;
  const std::string digits = plain_digits(in);
  if (const auto value = parse_int(digits, bound.integer(1, 10))) return *value;
  if (const auto value = parse_double(digits)) return from_double(*value, otherwise);
  return otherwise;
}

Value to_float(Runtime&, const Value& in, const Arguments& args) {
  const Bound bound("float", args, {"default"});
  in.defined();
  if (in.is_number()) return in.real();
  if (in.is_text())
    if (const auto value = parse_double(plain_digits(in))) return *value;
  return bound[0] != nullptr ? *bound[0] : Value(0.0);
}

Value abs_filter(Runtime&, const Value& in, const Arguments& args) {
  const Bound bound("abs", args, {});
  in.defined();
  if (!in.is_number()) fail_type(fmt::format("bad operand type for abs(): '{}'", in.type_name()));
  if (in.is_double()) return std::fabs(in.real());
  return in.integer() < 0 ? negate(in, true) : Value(in.integer());
}

Value round_filter(Runtime&, const Value& in, const Arguments& args) {
  const Bound bound("round", args, {"precision", "method"});
  const int64_t precision = std::clamp<int64_t>(bound.integer(0, 0), -300, 300);
  const std::string method = bound.text(1) != nullptr ? bound.text(1)->bytes() : "common";
  in.defined();
  if (method != "common" && method != "ceil" && method != "floor")
    fail("FilterArgumentError", "method must be common, ceil or floor");
  if (!in.is_number()) fail_type(fmt::format("type {} doesn't define __round__ method", in.type_name()));
  if (method == "common") {
    if (in.is_integral() && precision >= 0) return in.integer();
    if (precision < 0) {
      const double scale = std::pow(10.0, static_cast<double>(-precision));
      const double rounded = std::nearbyint(in.real() / scale) * scale;
      return in.is_integral() ? from_double(rounded, 0) : Value(rounded);
    }
    // The decimal expansion decides ties, as in Python.
    return std::strtod(fmt::format("{:.{}f}", in.real(), precision).c_str(), nullptr);
  }
  const double scale = std::pow(10.0, static_cast<double>(precision));
  return (method == "ceil" ? std::ceil(in.real() * scale) : std::floor(in.real() * scale)) / scale;
}

Value truncate(Runtime& runtime, const Value& in, const Arguments& args) {
  const Bound bound("truncate", args, {"length", "killwords", "end", "leeway"});
  const int64_t length = bound.integer(0, 255);
  const MarkedText end = bound.text(2) != nullptr ? *bound.text(2) : MarkedText("...", true);
  const int64_t leeway = bound[3] != nullptr && !bound[3]->is_none() ? bound.integer(3, 5) : 5;
  const auto end_count = static_cast<int64_t>(code_point_count(end.bytes()));
  if (length < end_count) fail("AssertionError", fmt::format("expected length >= {}, got {}", end_count, length));
  if (leeway < 0) fail("AssertionError", fmt::format("expected leeway >= 0, got {}", leeway));
  const int64_t count = sluice::jinja::length(in, runtime.budget);
  if (count <= length || count - length <= leeway) return in;
  if (!in.is_text()) fail_type(fmt::format("truncate cuts strings, not {}", in.type_name()));
  const MarkedText& text = in.text();
  const auto offsets = code_point_offsets(text.bytes());
  MarkedText out = text.slice(0, offsets[static_cast<size_t>(length - end_count)]);
  if (!bound.flag(1, false))
    if (const size_t space = out.bytes().rfind(' '); space != std::string::npos) out = out.slice(0, space);
  out.append(end);
  return out;
}

Value file_size(Runtime&, const Value& in, const Arguments& args) {
  const Bound bound("filesizeformat", args, {"binary"});
  in.defined();
  std::optional<double> bytes;
  if (in.is_number()) bytes = in.real();
  if (in.is_text() && !(bytes = parse_double(plain_digits(in))))
    fail_value(fmt::format("could not convert string to float: '{}'", in.str()));
  if (!bytes) fail_type(fmt::format("float() argument must be a string or a real number, not '{}'", in.type_name()));
  const bool binary = bound.flag(0, false);
  const double base = binary ? 1024 : 1000;
  if (*bytes == 1) return Value::literal("1 Byte");
  if (*bytes < base) {
    if (std::isinf(*bytes)) fail("OverflowError", "cannot convert float infinity to integer");
    return Value::literal(fmt::format("{:.0f} Bytes", std::trunc(*bytes) + 0.0));
  }
  constexpr std::string_view kPrefixes = "kMGTPEZY";
  constexpr double kUnits[] = {1e6, 1e9, 1e12, 1e15, 1e18, 1e21, 1e24, 1e27};  // of the next prefix, each the nearest number
  size_t i = 0;
  const auto unit = [&] { return binary ? std::ldexp(1.0, 20 + 10 * static_cast<int>(i)) : kUnits[i]; };
  // 1e24 is above its nearest number.
  while (i + 1 < kPrefixes.size() && !(*bytes < unit() || (*bytes == 1e24 && *bytes == unit()))) ++i;
  const char prefix = binary && i == 0 ? 'K' : kPrefixes[i];
  return Value::literal(fmt::format("{:.1f} {}{}", base * *bytes / unit(), prefix, binary ? "iB" : "B"));
}

Value wordcount(Runtime& runtime, const Value& in, const Arguments& args) {
  const Bound bound("wordcount", args, {});
  const MarkedText text = to_text(in, runtime.budget);
  int64_t words = 0;
  bool inside = false;
  for (size_t i = 0; i < text.size();) {
    const auto c = code_point_at(text.bytes(), i);
    const bool word = is_alpha(c.value) || is_numeric(c.value) || c.value == '_';
    words += word && !inside ? 1 : 0;
    inside = word;
    i += c.bytes;
  }
  return words;
}

constexpr std::array<NamedFunction, 21> kTextFilters = {{
    {"upper", with_case<Case::upper>},
    {"lower", with_case<Case::lower>},
    {"capitalize", with_case<Case::capitalized>},
    {"title", title},
    {"trim", trim},
    {"replace", replace_filter},
    {"indent", indent_filter},
    {"center", center},
    {"string", string},
    {"safe", string},  // without autoescape, safe and escaped text are plain text
    {"format", format},
    {"int", to_int},
    {"float", to_float},
    {"abs", abs_filter},
    {"round", round_filter},
    {"truncate", truncate},
    {"wordcount", wordcount},
    {"filesizeformat", file_size},
    {"wordwrap", word_wrap},
    {"pprint", pretty_print},
    {"tojson", to_json},
}};

}  // namespace

std::span<const NamedFunction> text_filters() { return kTextFilters; }

}  // namespace sluice::jinja
