#pragma once
// UTF-8 in and out of tokens: validation with replacement, characters, and the byte-level alphabet of GPT-2.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sluice {

/// Appends `bytes` to `out`, each invalid sequence replaced by U+FFFD (one per maximal subpart, Unicode 15
/// section 3.9). Unless `final`, a sequence that is incomplete only because the input ends is left alone. Returns the
/// bytes consumed.
size_t append_utf8_lossy(std::string_view bytes, bool final, std::string& out);
std::string to_valid_utf8(std::string_view bytes);
bool is_valid_utf8(std::string_view bytes);

/// Bytes of the character that starts with this lead byte of valid UTF-8.
inline size_t utf8_length(unsigned char lead) { return lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4; }
/// The character at `at` of valid UTF-8.
uint32_t decode_utf8(std::string_view text, size_t at);
void append_utf8(std::string& out, uint32_t code_point);
/// Start of the character that ends at `end` > 0.
size_t utf8_before(std::string_view text, size_t end);

/// White_Space of Unicode, which is also \s of the pre-tokenizer patterns.
bool is_white_space(uint32_t code_point);
/// \w of Unicode (UTS 18): alphabetic characters, marks, decimal digits, connector punctuation, joiners.
bool is_word_character(uint32_t code_point);

/// GPT-2 spells every byte as a printable character (a space is U+0120): appends the bytes of such a spelling, which is
/// valid UTF-8; false if it has others.
bool append_byte_level(std::string_view spelling, std::string& bytes);
std::string bytes_to_byte_level(std::string_view bytes);
/// The byte of a byte-fallback token, spelled <0x00> to <0xFF>.
std::optional<uint8_t> spelled_byte(std::string_view spelling);

}  // namespace sluice
