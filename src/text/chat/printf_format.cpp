#include "text/chat/printf_format.h"

#include <algorithm>
#include <cmath>

#include "text/chat/operators.h"
#include "text/chat/unicode.h"

namespace sluice::jinja {
namespace {

class Printf {
 public:
  Printf(const MarkedText& format, const Value& args, Budget& budget) : format_(format), args_(args), budget_(budget) {}

  MarkedText run() {
    const std::string& s = format_.bytes();
    MarkedText out;
    while (true) {
      const size_t percent = std::min(s.find('%', pos_), s.size());
      out.append(format_, pos_, percent - pos_);
      if (percent == s.size()) break;
      pos_ = percent + 1;
      out.append(conversion());
      budget_.read(64);
    }
    const bool many = args_.is_tuple();
    if (!named_ && !args_.is_dict() && used_ < (many ? args_.sequence().items.size() : 1))
      fail_type("not all arguments converted during string formatting");
    budget_.allocate(out.size());
    return out;
  }

 private:
  char peek() const {
    if (pos_ >= format_.size()) fail_value("incomplete format");
    return format_.bytes()[pos_];
  }

  Value next() {
    const bool many = args_.is_tuple();
    if (used_ >= (many ? args_.sequence().items.size() : 1)) fail_type("not enough arguments for format string");
    return many ? args_.sequence().items[used_++] : (++used_, args_);
  }

  Value named() {
    const size_t close = format_.bytes().find(')', pos_);
    if (close == std::string::npos) fail_value("incomplete format key");
    if (!args_.is_dict()) fail_type("format requires a mapping");
    const std::string key = format_.bytes().substr(pos_ + 1, close - pos_ - 1);
    pos_ = close + 1;
    named_ = true;
    const Value* value = args_.dict().find(std::string_view(key));
    if (value == nullptr) fail("KeyError", fmt::format("'{}'", key));
    return *value;
  }

  size_t number() {
    if (peek() == '*') fail_unsupported("'*' as the width or precision of a format");
    size_t n = 0;
    while (peek() >= '0' && peek() <= '9') {
      n = n * 10 + static_cast<size_t>(peek() - '0');
      if (n > kMaxFormatWidth) fail_limit("a format width above 65536");
      ++pos_;
    }
    return n;
  }

  MarkedText conversion() {
    std::optional<Value> value;
    if (peek() == '(') value = named();
    FormatSpec spec;
    bool left = false, zero = false;
    for (;; ++pos_) {
      const char c = peek();
      if (c == '-') left = true;
      else if (c == '0') zero = true;
      else if (c == '+') spec.sign = '+';
      else if (c == ' ') spec.sign = spec.sign == '+' ? '+' : ' ';
      else if (c == '#') spec.alternate = true;
      else break;
    }
    spec.width = number();
    if (peek() == '.') {
      ++pos_;
      spec.precision = static_cast<int>(number());
    }
    while (peek() == 'l' || peek() == 'h' || peek() == 'L') ++pos_;
    const bool percent_trusted = format_.trusted_at(pos_);
    spec.type = peek();
    ++pos_;
    if (spec.type == '%') return {"%", percent_trusted};
    if (!value) value = next();
    spec.align = left ? '<' : '>';
    if (spec.type == 's' || spec.type == 'r' || spec.type == 'a' || spec.type == 'c')
      return pad(text_conversion(*value, spec), spec, '>', budget_);
    if (zero && !left) {
      spec.align = '=';
      spec.fill = MarkedText("0", true);
    }
    return pad(MarkedText(number_conversion(*value, spec), true), spec, '>', budget_);
  }

  MarkedText text_conversion(const Value& value, const FormatSpec& spec) {
    if (spec.type == 'c') {
      if (value.is_text() && code_point_count(value.str()) == 1) return value.text();
      if (!value.is_int()) fail_type("%c requires int or char");
      std::string c;
      if (value.integer() < 0 || value.integer() > 0x10FFFF) fail("OverflowError", "%c arg not in range(0x110000)");
      append_utf8(c, static_cast<char32_t>(value.integer()));
      return {c, false};
    }
    MarkedText text = spec.type == 's' ? to_text(value, budget_) : repr(value, budget_);
    if (spec.precision < 0) return text;
    const auto offsets = code_point_offsets(text.bytes());
    return text.slice(0, offsets[std::min(offsets.size() - 1, static_cast<size_t>(spec.precision))]);
  }

  std::string number_conversion(const Value& value, FormatSpec spec) {
    value.defined();
    const std::string_view ints = "diuxXo", floats = "eEfFgG";
    const bool as_int = ints.find(spec.type) != ints.npos;
    if (!as_int && floats.find(spec.type) == floats.npos)
      fail_value(fmt::format("unsupported format character '{}' ({:#x})", spec.type, static_cast<int>(spec.type)));
    if (!value.is_number())
      fail_type(as_int ? fmt::format("%{} format: a real number is required, not {}", spec.type, value.type_name())
                       : fmt::format("must be real number, not {}", value.type_name()));
    if (!as_int) return format_number(value.real(), spec);
    if (value.is_double() && std::string_view("xXo").find(spec.type) != std::string_view::npos)
      fail_type(fmt::format("%{} format: an integer is required, not float", spec.type));
    if (value.is_double() && !(std::fabs(value.real()) < 9e18)) fail_unsupported("an integer beyond 64 bits");
    if (spec.type == 'i' || spec.type == 'u') spec.type = 'd';
    const int64_t integer = value.is_double() ? static_cast<int64_t>(value.real()) : value.integer();
    const size_t digits = static_cast<size_t>(std::max(spec.precision, 0));
    spec.precision = -1;
    std::string text = format_number(integer, spec);
    const size_t first = text.find_first_of("0123456789");
    if (text.size() - first < digits) text.insert(first, digits - (text.size() - first), '0');
    return text;
  }

  const MarkedText& format_;
  const Value& args_;
  Budget& budget_;
  size_t pos_ = 0;
  size_t used_ = 0;
  bool named_ = false;
};

}  // namespace

MarkedText printf_format(const MarkedText& format, const Value& args, Budget& budget) {
  return Printf(format, args, budget).run();
}

}  // namespace sluice::jinja
