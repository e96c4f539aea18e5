#include "text/chat/html.h"

#include <algorithm>
#include <cstdint>
#include <string_view>

#include "text/chat/unicode.h"

namespace sluice::jinja {
namespace {

struct Entity {
  std::string_view name;  // some end in ';', some are known without
  std::string_view text;
};
constexpr Entity kEntities[] = {  // in order
#include "text/chat/html_entities.inc"
};
constexpr size_t kLongestReference = 32;  // characters of a name, beside its ';'

const Entity* find_entity(std::string_view name) {
  const auto at = std::ranges::lower_bound(kEntities, name, {}, &Entity::name);
  return at != std::end(kEntities) && at->name == name ? at : nullptr;
}

/// The characters that a browser reads for these numbers, which Windows-1252 gives to others.
constexpr char32_t kWindows1252[32] = {0x20ac, 0x81,   0x201a, 0x192,  0x201e, 0x2026, 0x2020, 0x2021, 0x2c6, 0x2030, 0x160,
                                       0x2039, 0x152,  0x8d,   0x17d,  0x8f,   0x90,   0x2018, 0x2019, 0x201c, 0x201d, 0x2022,
                                       0x2013, 0x2014, 0x2dc,  0x2122, 0x161,  0x203a, 0x153,  0x9d,   0x17e, 0x178};

/// A numeric reference's text. Numbers too large for a character are all alike.
std::string character_of(uint32_t number) {
  std::string out;
  if (number == 0 || number > 0x10ffff || (number >= 0xd800 && number <= 0xdfff)) {
    append_utf8(out, 0xfffd);
  } else if (number >= 0x80 && number < 0xa0) {
    append_utf8(out, kWindows1252[number - 0x80]);
  } else if (number == '\r') {
    out = "\r";
  } else {
    const bool control = (number < 0x20 && number != '\t' && number != '\n' && number != '\f') || number == 0x7f;
    const bool no_character = (number & 0xfffe) == 0xfffe || (number >= 0xfdd0 && number <= 0xfdef);
    if (!control && !no_character) append_utf8(out, number);
  }
  return out;
}

struct Reference {
  std::string text;
  size_t bytes = 0;  // 0: it is none
};

Reference numeric_reference(std::string_view s, size_t at) {
  size_t i = at + 2;
  const bool hexadecimal = i < s.size() && (s[i] | 0x20) == 'x';
  if (hexadecimal) ++i;
  const size_t first = i;
  uint32_t number = 0;
  for (; i < s.size(); ++i) {
    const char c = s[i];
    const int lower = c | 0x20;
    const int digit = c >= '0' && c <= '9' ? c - '0' : hexadecimal && lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
    if (digit < 0) break;
    number = std::min<uint32_t>(number * (hexadecimal ? 16 : 10) + static_cast<uint32_t>(digit), 0x110000);
  }
  if (i == first) return {};
  if (i < s.size() && s[i] == ';') ++i;
  return {character_of(number), i - at};
}

/// The longest name that is known, if not all of what could be one.
Reference named_reference(std::string_view s, size_t at) {
  size_t end = at + 1;
  for (size_t characters = 0; end < s.size() && characters < kLongestReference; ++characters) {
    if (std::string_view("\t\n\f <&#;").find(s[end]) != std::string_view::npos) break;
    end += code_point_at(s, end).bytes;
  }
  if (end == at + 1) return {};
  if (end < s.size() && s[end] == ';') ++end;
  for (size_t bytes = end - at; bytes > 2; --bytes)  // no name has a single letter
    if (const Entity* entity = find_entity(s.substr(at + 1, bytes - 1))) return {std::string(entity->text), bytes};
  return {};
}

}  // namespace

MarkedText escape_html(const MarkedText& text, Budget& budget) {
  MarkedText out;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text.bytes()[i];
    const bool trusted = text.trusted_at(i);
    if (c == '&') out.append("&amp;", trusted);
    else if (c == '<') out.append("&lt;", trusted);
    else if (c == '>') out.append("&gt;", trusted);
    else if (c == '\'') out.append("&#39;", trusted);
    else if (c == '"') out.append("&#34;", trusted);
    else out.append(text, i, 1);
  }
  budget.allocate(out.size());
  return out;
}

MarkedText unescape_html(const MarkedText& text, Budget& budget) {
  const std::string_view s = text.bytes();
  MarkedText out;
  size_t copied = 0;
  for (size_t at = s.find('&'); at != std::string_view::npos; at = s.find('&', std::max(at + 1, copied))) {
    budget.step();
    const bool number = at + 1 < s.size() && s[at + 1] == '#';
    const Reference reference = number ? numeric_reference(s, at) : named_reference(s, at);
    if (reference.bytes == 0) continue;
    out.append(text, copied, at - copied);
    out.append(reference.text, text.trusted_at(at));
    copied = at + reference.bytes;
  }
  out.append(text, copied, s.size() - copied);
  budget.allocate(out.size());
  return out;
}

}  // namespace sluice::jinja
