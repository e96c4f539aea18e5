#include <charconv>
#include <cmath>

#include "text/chat/operators.h"
#include "text/chat/unicode.h"

namespace sluice::jinja {
namespace {

void append_repr(const Value& value, Budget& budget, MarkedText& out);

void append_items(const std::vector<Value>& items, Budget& budget, MarkedText& out) {
  for (size_t i = 0; i < items.size(); ++i) {
    if (i > 0) out.append(", ", true);
    append_repr(items[i], budget, out);
  }
}

void append_sequence(const Sequence& s, Budget& budget, MarkedText& out) {
  switch (s.form) {
    case Sequence::Form::list:
      out.append("[", true);
      append_items(s.items, budget, out);
      out.append("]", true);
      return;
    case Sequence::Form::tuple:
      out.append("(", true);
      append_items(s.items, budget, out);
      out.append(s.items.size() == 1 ? ",)" : ")", true);
      return;
    case Sequence::Form::range: out.append(s.repr, true); return;
    case Sequence::Form::keys: out.append("dict_keys([", true); break;
    case Sequence::Form::values: out.append("dict_values([", true); break;
    case Sequence::Form::items: out.append("dict_items([", true); break;
  }
  append_items(s.items, budget, out);
  out.append("])", true);
}

void append_repr(const Value& value, Budget& budget, MarkedText& out) {
  const Budget::Depth depth(budget);
  const size_t before = out.size();
  if (value.is_text()) {
    out.append(repr_text(value.text()));
  } else if (value.is_sequence()) {
    append_sequence(value.sequence(), budget, out);
  } else if (value.is_dict()) {
    out.append("{", true);
    bool first = true;
    for (const auto& [key, item] : value.dict().entries()) {
      if (!first) out.append(", ", true);
      first = false;
      append_repr(key, budget, out);
      out.append(": ", true);
      append_repr(item, budget, out);
    }
    out.append("}", true);
  } else if (value.is_undefined()) {
    out.append("Undefined", true);
  } else if (value.is_object()) {
    out.append(value.object()->repr(), false);
  } else {
    out.append(to_text(value, budget));
    return;
  }
  // Containers count their brackets only; their items have counted themselves.
  budget.allocate(value.is_text() || value.is_object() ? out.size() - before : 4);
}

}  // namespace

std::string repr_double(double d) {
  if (std::isnan(d)) return "nan";
  if (std::isinf(d)) return d > 0 ? "inf" : "-inf";
  if (d == 0) return std::signbit(d) ? "-0.0" : "0.0";
  char buffer[64];
  const double magnitude = std::fabs(d);
  if (magnitude >= 1e-4 && magnitude < 1e16) {
    const auto end = std::to_chars(buffer, buffer + sizeof buffer, d, std::chars_format::fixed).ptr;
    std::string out(buffer, end);
    if (out.find('.') == std::string::npos) out += ".0";
    return out;
  }
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, d, std::chars_format::scientific).ptr;
  return std::string(buffer, end);
}

MarkedText repr_text(const MarkedText& text) {
  const std::string& s = text.bytes();
  const bool has_single = s.find('\'') != std::string::npos, has_double = s.find('"') != std::string::npos;
  const char quote = has_single && !has_double ? '"' : '\'';
  const bool quotes_trusted = text.trusted();
  MarkedText out;
  out.reserve(s.size() + 2);
  out.append(std::string_view(&quote, 1), quotes_trusted);
  for (size_t i = 0; i < s.size();) {
    const auto c = code_point_at(s, i);
    const bool trusted = text.trusted_at(i);
    if (c.value == '\\' || c.value == static_cast<unsigned char>(quote)) {
      out.append(std::string("\\") + s[i], trusted);
    } else if (c.value == '\n') {
      out.append("\\n", trusted);
    } else if (c.value == '\r') {
      out.append("\\r", trusted);
    } else if (c.value == '\t') {
      out.append("\\t", trusted);
    } else if (is_printable(c.value)) {
      out.append(text, i, c.bytes);
    } else if (c.value < 0x100) {
      out.append(fmt::format("\\x{:02x}", static_cast<unsigned>(c.value)), trusted);
    } else if (c.value < 0x10000) {
      out.append(fmt::format("\\u{:04x}", static_cast<unsigned>(c.value)), trusted);
    } else {
      out.append(fmt::format("\\U{:08x}", static_cast<unsigned>(c.value)), trusted);
    }
    i += c.bytes;
  }
  out.append(std::string_view(&quote, 1), quotes_trusted);
  return out;
}

MarkedText to_text(const Value& value, Budget& budget) {
  if (value.is_text()) {
    budget.allocate(value.text().size());
    return value.text();
  }
  if (value.is_undefined()) return {};
  if (value.is_none()) return {"None", true};
  if (value.is_bool()) return {value.boolean() ? "True" : "False", true};
  if (value.is_int()) return {std::to_string(value.integer()), true};
  if (value.is_double()) return {repr_double(value.real()), true};
  if (value.is_generator()) return {fmt::format("<{} object>", value.generator().type), true};
  MarkedText out;
  append_repr(value, budget, out);
  return out;
}

MarkedText repr(const Value& value, Budget& budget) {
  MarkedText out;
  append_repr(value, budget, out);
  return out;
}

}  // namespace sluice::jinja
