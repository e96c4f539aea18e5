// Filters for HTML and URLs.
#include <array>

#include "text/chat/html.h"
#include "text/chat/operators.h"
#include "text/chat/runtime.h"
#include "text/chat/text_ops.h"

namespace sluice::jinja {
namespace {

Value escape(Runtime& runtime, const Value& in, const Arguments& args) {
  const Bound bound("escape", args, {});
  return escape_html(to_text(in, runtime.budget), runtime.budget);
}

/// Without tags and comments, white space as single spaces, references as characters.
Value striptags(Runtime& runtime, const Value& in, const Arguments& args) {
  const Bound bound("striptags", args, {});
  const MarkedText text = to_text(in, runtime.budget);
  const std::string& s = text.bytes();
  MarkedText kept;
  size_t from = 0;
  for (size_t start = s.find('<'); start != std::string::npos; start = s.find('<', from)) {
    const bool comment = s.compare(start, 4, "<!--") == 0;
    const size_t end = comment ? s.find("-->", start + 4) : s.find('>', start);
    if (end == std::string::npos) break;  // what is not closed stays
    kept.append(text, from, start - from);
    from = end + (comment ? 3 : 1);
  }
  kept.append(text, from, s.size() - from);
  const MarkedText space(" ", true);
  return unescape_html(join(space, split(kept, nullptr, -1, false, runtime.budget), runtime.budget), runtime.budget);
}

/// Percent-encoded, as urllib.parse.quote does it.
void append_quoted(const MarkedText& text, bool in_query, MarkedText& out) {
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text.bytes()[i];
    const int lower = c | 0x20;
    const bool safe = (lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') ||
                      std::string_view("_.-~").find(c) != std::string_view::npos || (c == '/' && !in_query);
    if (safe)
      out.append(text, i, 1);
    else if (c == ' ' && in_query)
      out.append("+", text.trusted_at(i));
    else
      out.append(fmt::format("%{:02X}", static_cast<unsigned char>(c)), text.trusted_at(i));
  }
}

/// A pair, as Python unpacks one.
std::pair<Value, Value> pair_of(const Value& value, Budget& budget) {
  if (value.is_number() || value.is_none() || value.is_object())
    fail_type(fmt::format("cannot unpack non-iterable {} object", value.type_name()));
  const SequencePtr parts = iterate(value, budget);
  if (parts->items.size() < 2)
    fail_value(fmt::format("not enough values to unpack (expected 2, got {})", parts->items.size()));
  if (parts->items.size() > 2) fail_value("too many values to unpack (expected 2)");
  return {parts->items[0], parts->items[1]};
}

Value urlencode(Runtime& runtime, const Value& in, const Arguments& args) {
  const Bound bound("urlencode", args, {});
  Budget& budget = runtime.budget;
  MarkedText out;
  const auto add_pair = [&](const Value& name, const Value& value) {
    if (!out.empty()) out.append("&", true);
    append_quoted(to_text(name, budget), true, out);
    out.append("=", true);
    append_quoted(to_text(value, budget), true, out);
  };
  if (in.is_dict()) {
    for (const auto& [name, value] : in.dict().entries()) add_pair(name, value);
  } else if (in.is_sequence() || in.is_generator() || in.is_undefined()) {
    const SequencePtr pairs = iterate(in, budget);
    for (const Value& item : pairs->items) {
      const auto [name, value] = pair_of(item, budget);
      add_pair(name, value);
    }
  } else {
    append_quoted(to_text(in, budget), false, out);
  }
  budget.allocate(out.size());
  return out;
}

Value xmlattr(Runtime& runtime, const Value& in, const Arguments& args) {
  const Bound bound("xmlattr", args, {"autospace"});
  in.defined();
  if (!in.is_dict()) fail("UndefinedError", fmt::format("'{} object' has no attribute 'items'", in.type_name()));
  MarkedText out;
  for (const auto& [name, value] : in.dict().entries()) {
    if (value.is_none() || value.is_undefined()) continue;
    if (!name.is_text()) fail_type(fmt::format("expected string or bytes-like object, got '{}'", name.type_name()));
    if (name.str().find_first_of(" \t\n\r\f\v/>=") != std::string::npos)
      fail_value(fmt::format("Invalid character in attribute name: {}", repr(name, runtime.budget).bytes()));
    if (!out.empty() || bound.flag(0, true)) out.append(" ", true);
    out.append(escape_html(name.text(), runtime.budget));
    out.append("=\"", true);
    out.append(escape_html(to_text(value, runtime.budget), runtime.budget));
    out.append("\"", true);
  }
  return out;
}

constexpr std::array<NamedFunction, 7> kMarkupFilters = {{
    {"escape", escape},
    {"e", escape},
    {"forceescape", escape},
    {"striptags", striptags},
    {"urlencode", urlencode},
    {"urlize", urlize},
    {"xmlattr", xmlattr},
}};

}  // namespace

std::span<const NamedFunction> markup_filters() { return kMarkupFilters; }

}  // namespace sluice::jinja
