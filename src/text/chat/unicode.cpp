#include "text/chat/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "text/printable.h"

namespace sluice::jinja {
namespace {

utf8proc_category_t category(char32_t c) { return utf8proc_category(static_cast<utf8proc_int32_t>(c)); }

std::string mapped(utf8proc_int32_t c) {
  std::string out;
  append_utf8(out, static_cast<char32_t>(c));
  return out;
}

}  // namespace

CodePoint code_point_at(std::string_view s, size_t pos) {
  const auto first = static_cast<unsigned char>(s[pos]);
  if (first < 0x80) return {first, 1};
  utf8proc_int32_t c = 0;
  const auto n = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(s.data()) + pos,
                                  static_cast<utf8proc_ssize_t>(s.size() - pos), &c);
  if (n <= 0) return {0xFFFD, 1};
  return {static_cast<char32_t>(c), static_cast<size_t>(n)};
}

void append_utf8(std::string& out, char32_t c) {
  if (c > 0x10FFFF || (c >= 0xD800 && c < 0xE000)) c = 0xFFFD;
  utf8proc_uint8_t buffer[4];
  const auto n = utf8proc_encode_char(static_cast<utf8proc_int32_t>(c), buffer);
  out.append(reinterpret_cast<const char*>(buffer), static_cast<size_t>(n));
}

std::optional<size_t> first_invalid_utf8(std::string_view s) {
  for (size_t i = 0; i < s.size();) {
    const auto c = code_point_at(s, i);
    if (c.value == 0xFFFD && c.bytes == 1) return i;
    i += c.bytes;
  }
  return std::nullopt;
}

size_t find_bytes(std::string_view s, std::string_view needle, size_t from) {
  if (from > s.size()) return std::string::npos;
  if (needle.empty()) return from;
  const void* at = memmem(s.data() + from, s.size() - from, needle.data(), needle.size());
  return at == nullptr ? std::string::npos : static_cast<size_t>(static_cast<const char*>(at) - s.data());
}

bool is_ascii(std::string_view s) {
  return std::all_of(s.begin(), s.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

size_t code_point_count(std::string_view s) {
  size_t n = 0;
  for (size_t i = 0; i < s.size(); ++n) i += code_point_at(s, i).bytes;
  return n;
}

std::vector<size_t> code_point_offsets(std::string_view s) {
  std::vector<size_t> offsets;
  for (size_t i = 0; i < s.size();) {
    offsets.push_back(i);
    i += code_point_at(s, i).bytes;
  }
  offsets.push_back(s.size());
  return offsets;
}

bool is_space(char32_t c) {
  if (c < 0x80) return c == ' ' || (c >= 9 && c <= 13) || (c >= 0x1c && c <= 0x1f);
  return c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 ||
         c == 0x202f || c == 0x205f || c == 0x3000;
}

bool is_line_break(char32_t c) {
  return (c >= 10 && c <= 13) || (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

bool is_alpha(char32_t c) {
  const auto k = category(c);
  return k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO;
}

bool is_decimal(char32_t c) { return category(c) == UTF8PROC_CATEGORY_ND; }

bool is_numeric(char32_t c) {
  const auto k = category(c);
  return k >= UTF8PROC_CATEGORY_ND && k <= UTF8PROC_CATEGORY_NO;
}

bool is_upper(char32_t c) { return category(c) == UTF8PROC_CATEGORY_LU; }
bool is_lower(char32_t c) { return category(c) == UTF8PROC_CATEGORY_LL; }
bool is_cased(char32_t c) {
  const auto k = category(c);
  return k == UTF8PROC_CATEGORY_LU || k == UTF8PROC_CATEGORY_LL || k == UTF8PROC_CATEGORY_LT;
}

bool is_printable(char32_t c) { return sluice::is_printable(c); }

namespace {

/// ß and the Latin ligatures in lower case, which the simple case mappings leave alone; empty for other characters.
std::string_view spelled_out(char32_t c) {
  static constexpr std::array<std::string_view, 7> kLigatures = {"ff", "fi", "fl", "ffi", "ffl", "st", "st"};
  if (c == 0xDF || c == 0x1E9E) return "ss";
  return c >= 0xFB00 && c <= 0xFB06 ? kLigatures[c - 0xFB00] : std::string_view();
}

std::string upper_ascii(std::string_view s, size_t letters) {
  std::string out(s);
  for (size_t i = 0; i < std::min(letters, out.size()); ++i) out[i] = static_cast<char>(out[i] - 'a' + 'A');
  return out;
}

}  // namespace

std::string to_upper(char32_t c) {
  if (const auto spelled = spelled_out(c); !spelled.empty() && c != 0x1E9E) return upper_ascii(spelled, spelled.size());
  return mapped(utf8proc_toupper(static_cast<utf8proc_int32_t>(c)));
}
std::string to_lower(char32_t c) { return mapped(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))); }
std::string to_title(char32_t c) {
  if (const auto spelled = spelled_out(c); !spelled.empty() && c != 0x1E9E) return upper_ascii(spelled, 1);
  return mapped(utf8proc_totitle(static_cast<utf8proc_int32_t>(c)));
}
std::string to_folded(char32_t c) {
  const auto spelled = spelled_out(c);
  return spelled.empty() ? to_lower(c) : std::string(spelled);
}

}  // namespace sluice::jinja
