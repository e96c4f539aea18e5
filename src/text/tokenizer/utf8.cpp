#include "text/tokenizer/utf8.h"

#include <utf8proc.h>

#include <array>
#include <cstring>

namespace sluice {
namespace {

struct Sequence {
  enum class State { valid, invalid, incomplete } state;
  size_t bytes;  // of the character, or of the maximal subpart to replace
};

Sequence scan(std::string_view text) {
  using enum Sequence::State;
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {valid, 1};
  if (lead < 0xc2 || lead > 0xf4) return {invalid, 1};
  const size_t length = utf8_length(lead);
  // Only the second byte has a narrower range after some leads: overlong forms, surrogates, above U+10FFFF.
  const unsigned char low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  const unsigned char high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  for (size_t i = 1; i < length; ++i) {
    if (i >= text.size()) return {incomplete, i};
    if (byte(i) < (i == 1 ? low : 0x80) || byte(i) > (i == 1 ? high : 0xbf)) return {invalid, i};
  }
  return {valid, length};
}

struct ByteAlphabet {
  std::array<uint32_t, 256> character;
  std::array<int, 512> byte;  // -1: not in the alphabet
};

const ByteAlphabet& byte_alphabet() {
  static const ByteAlphabet alphabet = [] {
    ByteAlphabet a;
    a.byte.fill(-1);
    uint32_t next = 256;
    for (uint32_t b = 0; b < 256; ++b) {
      const bool printable = (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
      a.character[b] = printable ? b : next++;
      a.byte[a.character[b]] = static_cast<int>(b);
    }
    return a;
  }();
  return alphabet;
}

}  // namespace

size_t append_utf8_lossy(std::string_view bytes, bool final, std::string& out) {
  size_t at = 0, clean_from = 0;
  while (at < bytes.size()) {
    const Sequence next = scan(bytes.substr(at));
    if (next.state == Sequence::State::valid) {
      at += next.bytes;
      continue;
    }
    out.append(bytes, clean_from, at - clean_from);
    clean_from = at;
    if (next.state == Sequence::State::incomplete && !final) return at;
    out += "\xef\xbf\xbd";
    at += next.bytes;
    clean_from = at;
  }
  out.append(bytes, clean_from, at - clean_from);
  return at;
}

std::string to_valid_utf8(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  append_utf8_lossy(bytes, true, out);
  return out;
}

bool is_valid_utf8(std::string_view bytes) {
  for (size_t at = 0; at < bytes.size();) {
    uint64_t eight = 0;
    if (at + 8 <= bytes.size()) {
      std::memcpy(&eight, bytes.data() + at, 8);
      if ((eight & 0x8080808080808080ull) == 0) {
        at += 8;
        continue;
      }
    }
    const Sequence next = scan(bytes.substr(at));
    if (next.state != Sequence::State::valid) return false;
    at += next.bytes;
  }
  return true;
}

uint32_t decode_utf8(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<uint32_t>(static_cast<unsigned char>(text[at + i])); };
  switch (utf8_length(static_cast<unsigned char>(text[at]))) {
    case 1:
      return byte(0);
    case 2:
      return (byte(0) & 0x1f) << 6 | (byte(1) & 0x3f);
    case 3:
      return (byte(0) & 0x0f) << 12 | (byte(1) & 0x3f) << 6 | (byte(2) & 0x3f);
    default:
      return (byte(0) & 0x07) << 18 | (byte(1) & 0x3f) << 12 | (byte(2) & 0x3f) << 6 | (byte(3) & 0x3f);
  }
}

void append_utf8(std::string& out, uint32_t c) {
  const auto put = [&](uint32_t b) { out.push_back(static_cast<char>(b)); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xc0 | c >> 6), put(0x80 | (c & 0x3f));
  } else if (c < 0x10000) {
    put(0xe0 | c >> 12), put(0x80 | (c >> 6 & 0x3f)), put(0x80 | (c & 0x3f));
  } else {
    put(0xf0 | c >> 18), put(0x80 | (c >> 12 & 0x3f)), put(0x80 | (c >> 6 & 0x3f)), put(0x80 | (c & 0x3f));
  }
}

size_t utf8_before(std::string_view text, size_t end) {
  size_t at = end - 1;
  while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80) --at;
  return at;
}

bool is_white_space(uint32_t c) {
  return (c >= 0x09 && c <= 0x0d) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

bool is_word_character(uint32_t c) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
      return true;
    default:  // symbols that are alphabetic, and joiners
      return (c >= 0x24b6 && c <= 0x24e9) || (c >= 0x1f130 && c <= 0x1f149) || (c >= 0x1f150 && c <= 0x1f169) ||
             (c >= 0x1f170 && c <= 0x1f189) || c == 0x200c || c == 0x200d;
  }
}

bool append_byte_level(std::string_view spelling, std::string& bytes) {
  const ByteAlphabet& alphabet = byte_alphabet();
  for (size_t at = 0; at < spelling.size(); at += utf8_length(static_cast<unsigned char>(spelling[at]))) {
    const uint32_t c = decode_utf8(spelling, at);
    if (c >= 512 || alphabet.byte[c] < 0) return false;
    bytes.push_back(static_cast<char>(alphabet.byte[c]));
  }
  return true;
}

std::string bytes_to_byte_level(std::string_view bytes) {
  std::string spelling;
  for (const char b : bytes) append_utf8(spelling, byte_alphabet().character[static_cast<unsigned char>(b)]);
  return spelling;
}

std::optional<uint8_t> spelled_byte(std::string_view spelling) {
  if (spelling.size() != 6 || !spelling.starts_with("<0x") || spelling[5] != '>') return std::nullopt;
  const auto digit = [&](size_t i) {
    const char c = spelling[i];
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
  };
  if (digit(3) < 0 || digit(4) < 0) return std::nullopt;
  return static_cast<uint8_t>(digit(3) * 16 + digit(4));
}

}  // namespace sluice
