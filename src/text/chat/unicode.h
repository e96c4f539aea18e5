#pragma once
// Code points of UTF-8 text with the properties that Python's str methods ask for (utf8proc has the tables).

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::jinja {

struct CodePoint {
  char32_t value = 0;
  size_t bytes = 1;
};

/// The code point that starts at byte `pos`. A byte that starts none is taken alone, as U+FFFD.
CodePoint code_point_at(std::string_view s, size_t pos);
void append_utf8(std::string& out, char32_t c);

/// Byte offset of the first invalid sequence, or nothing.
std::optional<size_t> first_invalid_utf8(std::string_view s);

/// First `needle` in `s` at or after byte `from`, in linear time; npos where there is none.
size_t find_bytes(std::string_view s, std::string_view needle, size_t from);

bool is_ascii(std::string_view s);
size_t code_point_count(std::string_view s);
/// Byte offsets of every code point, and the size of `s` at the end.
std::vector<size_t> code_point_offsets(std::string_view s);

// As str.isspace, isalpha, ... see one character.
bool is_space(char32_t c);
bool is_alpha(char32_t c);
bool is_decimal(char32_t c);
bool is_numeric(char32_t c);
bool is_upper(char32_t c);
bool is_lower(char32_t c);
bool is_cased(char32_t c);
bool is_printable(char32_t c);
bool is_line_break(char32_t c);  // one of str.splitlines' separators

// UTF-8 of the mapped character; one character may become several.
std::string to_upper(char32_t c);
std::string to_lower(char32_t c);
std::string to_title(char32_t c);
std::string to_folded(char32_t c);

}  // namespace sluice::jinja
