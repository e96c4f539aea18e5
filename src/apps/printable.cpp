#include "apps/printable.h"

#include <fmt/core.h>

#include <algorithm>

namespace sluice {
namespace {

/// Bytes of the UTF-8 character at the front, 0 where there is none. Overlong forms and surrogates are not told apart:
/// no terminal takes them for controls.
size_t utf8_length(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text[0]);
  const size_t length = lead < 0x80                   ? 1
                        : lead >= 0xc2 && lead < 0xe0 ? 2
                        : lead >= 0xe0 && lead < 0xf0 ? 3
                        : lead >= 0xf0 && lead < 0xf5 ? 4
                                                      : 0;
  if (length == 0 || text.size() < length) return 0;
  return std::all_of(text.begin() + 1, text.begin() + static_cast<std::ptrdiff_t>(length),
                     [](char c) { return (c & 0xc0) == 0x80; })
             ? length
             : 0;
}

bool is_control(std::string_view character) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(character[i]); };
  if (character.size() == 2) return byte(0) == 0xc2 && byte(1) < 0xa0;  // C1
  return character.size() == 1 && (byte(0) < 0x20 || byte(0) == 0x7f);
}

}  // namespace

std::string printable(std::string_view text, bool keep_lines) {
  std::string out;
  while (!text.empty()) {
    const size_t length = utf8_length(text);
    const std::string_view character = text.substr(0, std::max<size_t>(1, length));
    text.remove_prefix(character.size());
    if (character == "\n")
      out += keep_lines ? "\n" : "\\n";
    else if (character == "\t" && keep_lines)
      out += character;
    else if (length > 0 && !is_control(character))
      out += character;
    else
      for (const char c : character) out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  }
  return out;
}

}  // namespace sluice
