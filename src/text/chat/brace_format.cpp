#include <algorithm>
#include <charconv>
#include <cmath>

#include "text/chat/operators.h"
#include "text/chat/printf_format.h"
#include "text/chat/unicode.h"

namespace sluice::jinja {
namespace {

std::string with_thousands(std::string digits, char mark) {
  const size_t end = std::min(digits.find_first_not_of("0123456789"), digits.size());
  for (size_t i = end; i > 3; i -= 3) digits.insert(i - 3, 1, mark);
  return digits;
}

FormatSpec parse_spec(const MarkedText& text) {
  FormatSpec spec;
  const std::string& s = text.bytes();
  size_t i = 0;
  const auto is_align = [&](size_t at) {
    return at < s.size() && std::string_view("<>=^").find(s[at]) != std::string::npos;
  };
  if (!s.empty()) {
    const size_t first = code_point_at(s, 0).bytes;
    if (is_align(first)) {
      spec.fill = text.slice(0, first);
      spec.align = s[first];
      i = first + 1;
    } else if (is_align(0)) {
      spec.align = s[i++];
    }
  }
  const auto number = [&] {
    size_t n = 0;
    for (; i < s.size() && s[i] >= '0' && s[i] <= '9'; ++i) {
      n = n * 10 + static_cast<size_t>(s[i] - '0');
      if (n > kMaxFormatWidth) fail_limit("a format width above 65536");
    }
    return n;
  };
  if (i < s.size() && (s[i] == '+' || s[i] == '-' || s[i] == ' ')) spec.sign = s[i++];
  if (i < s.size() && s[i] == '#') spec.alternate = true, ++i;
  if (i < s.size() && s[i] == '0' && spec.align == 0) {
    spec.fill = MarkedText("0", true);
    spec.align = '=';
    ++i;
  }
  spec.width = number();
  if (i < s.size() && (s[i] == ',' || s[i] == '_')) spec.thousands = s[i++];
  if (i < s.size() && s[i] == '.') {
    ++i;
    spec.precision = static_cast<int>(number());
  }
  if (i < s.size()) spec.type = s[i++];
  if (i < s.size()) fail_value(fmt::format("Invalid format specifier '{}'", s));
  return spec;
}

MarkedText format_value(const Value& value, const MarkedText& spec_text, Budget& budget) {
  if (spec_text.empty()) return to_text(value, budget);
  FormatSpec spec = parse_spec(spec_text);
  if (value.is_number() && !(value.is_bool() && spec.type == 0)) {
    const bool integer_type = spec.type != 0 && std::string_view("dxXobcn").find(spec.type) != std::string::npos;
    if (value.is_double() && integer_type)
      fail_value(fmt::format("Unknown format code '{}' for object of type 'float'", spec.type));
    if (spec.type == 's')
      fail_value(fmt::format("Unknown format code 's' for object of type '{}'", value.type_name()));
    return pad(MarkedText(format_number(value, spec), true), spec, '>', budget);
  }
  if (!value.is_text())
    fail_type(fmt::format("unsupported format string passed to {}.__format__", value.type_name()));
  if (spec.type != 0 && spec.type != 's')
    fail_value(fmt::format("Unknown format code '{}' for object of type 'str'", spec.type));
  if (spec.thousands != 0) fail_value(fmt::format("Cannot specify '{}' with 's'.", spec.thousands));
  if (spec.align == '=') fail_value("'=' alignment not allowed in string format specifier");
  MarkedText text = value.text();
  if (spec.precision >= 0) {
    const auto offsets = code_point_offsets(text.bytes());
    text = text.slice(0, offsets[std::min(offsets.size() - 1, static_cast<size_t>(spec.precision))]);
  }
  return pad(std::move(text), spec, '<', budget);
}

class Brace {
 public:
  Brace(const Arguments& args, Budget& budget) : args_(args), budget_(budget) {}

  MarkedText run(const MarkedText& format, int level) {
    if (level > 2) fail_value("Max string recursion exceeded");
    const std::string& s = format.bytes();
    MarkedText out;
    for (size_t i = 0; i < s.size();) {
      const size_t brace = std::min(s.find_first_of("{}", i), s.size());
      out.append(format, i, brace - i);
      if (brace == s.size()) break;
      if (brace + 1 < s.size() && s[brace + 1] == s[brace]) {
        out.append(format, brace, 1);
        i = brace + 2;
        continue;
      }
      if (s[brace] == '}') fail_value("Single '}' encountered in format string");
      const size_t close = matching_brace(s, brace);
      out.append(field(format.slice(brace + 1, close - brace - 1), level));
      budget_.read(64);
      i = close + 1;
    }
    budget_.allocate(out.size());
    return out;
  }

 private:
  static size_t matching_brace(const std::string& s, size_t open) {
    int depth = 0;
    for (size_t i = open; i < s.size(); ++i) {
      if (s[i] == '{') ++depth;
      if (s[i] == '}' && --depth == 0) return i;
    }
    fail_value("expected '}' before end of string");
  }

  MarkedText field(const MarkedText& text, int level) {
    const std::string& s = text.bytes();
    size_t end = std::min(s.find_first_of("!:"), s.size());
    Value value = lookup(s.substr(0, end));
    if (end < s.size() && s[end] == '!') {
      if (end + 1 >= s.size()) fail_value("end of string while looking for conversion specifier");
      const char conversion = s[end + 1];
      if (conversion == 's') value = to_text(value, budget_);
      else if (conversion == 'r' || conversion == 'a') value = repr(value, budget_);
      else fail_value(fmt::format("Unknown conversion specifier {}", conversion));
      end += 2;
      if (end < s.size() && s[end] != ':') fail_value("expected ':' after conversion specifier");
    }
    if (end >= s.size()) return format_value(value, {}, budget_);
    return format_value(value, run(text.slice(end + 1, s.size() - end - 1), level + 1), budget_);
  }

  Value lookup(const std::string& path) {
    const size_t end = std::min(path.find_first_of(".["), path.size());
    Value value = argument(path.substr(0, end));
    for (size_t i = end; i < path.size();) {
      if (path[i] == '.') {
        const size_t stop = std::min(path.find_first_of(".[", i + 1), path.size());
        value = get_attribute(value, path.substr(i + 1, stop - i - 1));
        i = stop;
      } else {
        const size_t close = path.find(']', i);
        if (path[i] != '[' || close == std::string::npos) fail_value("Missing ']' in format string");
        const std::string key = path.substr(i + 1, close - i - 1);
        int64_t index = 0;
        const bool number = std::from_chars(key.data(), key.data() + key.size(), index).ptr == key.data() + key.size();
        value = get_item(value, number && !key.empty() ? Value(index) : Value::literal(key), budget_);
        i = close + 1;
      }
    }
    return value;
  }

  Value argument(const std::string& name) {
    size_t index = 0;
    const bool number = std::from_chars(name.data(), name.data() + name.size(), index).ptr == name.data() + name.size();
    if (name.empty()) index = next_++;
    if (!number && !name.empty()) {
      for (const auto& [key, value] : args_.named)
        if (key == name) return value;
      fail("KeyError", fmt::format("'{}'", name));
    }
    if (index >= args_.positional.size())
      fail("IndexError", fmt::format("Replacement index {} out of range for positional args tuple", index));
    return args_.positional[index];
  }

  const Arguments& args_;
  Budget& budget_;
  size_t next_ = 0;
};

}  // namespace

std::string format_number(const Value& number, const FormatSpec& spec) {
  std::string digits;
  bool negative = false;
  const bool float_type = spec.type != 0 && std::string_view("eEfFgG%").find(spec.type) != std::string::npos;
  if (number.is_integral() && !float_type) {
    const int64_t v = number.integer();
    negative = v < 0;
    const auto magnitude = negative ? uint64_t{0} - static_cast<uint64_t>(v) : static_cast<uint64_t>(v);
    switch (spec.type) {
      case 'x': digits = fmt::format("{}{:x}", spec.alternate ? "0x" : "", magnitude); break;
      case 'X': digits = fmt::format("{}{:X}", spec.alternate ? "0X" : "", magnitude); break;
      case 'o': digits = fmt::format("{}{:o}", spec.alternate ? "0o" : "", magnitude); break;
      case 'b': digits = fmt::format("{}{:b}", spec.alternate ? "0b" : "", magnitude); break;
      case 0:
      case 'd':
      case 'n': digits = std::to_string(magnitude); break;
      default: fail_value(fmt::format("Unknown format code '{}' for object of type 'int'", spec.type));
    }
  } else {
    double v = number.real();
    negative = std::signbit(v);
    v = std::fabs(v);
    const int precision = spec.precision < 0 ? 6 : std::min(spec.precision, 1000);
    if (!std::isfinite(v)) {
      digits = std::isnan(v) ? "nan" : "inf";
    } else if (spec.type == 0 && spec.precision < 0) {
      digits = repr_double(v);
    } else if (spec.type == 0) {
      digits = fmt::format("{:.{}g}", v, precision);
      if (digits.find_first_of(".e") == std::string::npos) digits += ".0";
    } else if (spec.type == '%') {
      digits = fmt::format("{:.{}f}%", v * 100, precision);
    } else {
      switch (spec.type) {
        case 'e': digits = fmt::format("{:.{}e}", v, precision); break;
        case 'E': digits = fmt::format("{:.{}E}", v, precision); break;
        case 'f':
        case 'F': digits = fmt::format("{:.{}f}", v, precision); break;
        case 'g': digits = fmt::format("{:.{}g}", v, precision); break;
        case 'G': digits = fmt::format("{:.{}G}", v, precision); break;
        default: fail_value(fmt::format("Unknown format code '{}' for object of type 'float'", spec.type));
      }
    }
  }
  if (spec.thousands != 0) digits = with_thousands(std::move(digits), spec.thousands);
  if (negative || spec.sign != '-') digits.insert(0, 1, negative ? '-' : spec.sign);
  return digits;
}

MarkedText pad(MarkedText text, const FormatSpec& spec, char default_align, Budget& budget) {
  const size_t have = code_point_count(text.bytes());
  if (have >= spec.width) return text;
  const size_t missing = spec.width - have;
  const char align = spec.align == 0 ? default_align : spec.align;
  size_t before = align == '>' ? missing : align == '^' ? missing / 2 : 0;
  size_t after = align == '<' ? missing : align == '^' ? missing - missing / 2 : 0;
  budget.allocate(text.size() + missing * spec.fill.size());
  MarkedText out;
  size_t sign = 0;
  if (align == '=') {
    sign = !text.empty() && std::string_view("+- ").find(text.bytes()[0]) != std::string::npos ? 1 : 0;
    out.append(text, 0, sign);
    before = missing;
  }
  for (; before > 0; --before) out.append(spec.fill);
  out.append(text, sign, text.size() - sign);
  for (; after > 0; --after) out.append(spec.fill);
  return out;
}

MarkedText brace_format(const MarkedText& format, const Arguments& args, Budget& budget) {
  return Brace(args, budget).run(format, 0);
}

}  // namespace sluice::jinja
