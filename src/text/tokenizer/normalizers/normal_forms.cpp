// NFC, NFD, NFKC, NFKD: the normal forms of Unicode (UAX 15), on the tables of utf8proc. Putting marks in order is done
// here, in linear time: a text of nothing but marks is a text too.

#include <utf8proc.h>

#include <algorithm>
#include <array>

#include "text/tokenizer/normalizers/normalizer.h"
#include "text/tokenizer/step_count.h"
#include "text/tokenizer/utf8.h"

namespace sluice {
namespace {

constexpr uint32_t kTabled = 0x30000;  // no character from here on has a decomposition or is a mark, but for tags

utf8proc_propval_t combining_class(int32_t c) { return utf8proc_get_property(c)->combining_class; }

/// Characters that no composition changes, whatever stands before them: text of nothing else is NFC as it is.
const std::vector<bool>& settled_in_nfc() {
  static const std::vector<bool> table = [] {
    std::vector<bool> settled(kTabled, true);
    std::array<int32_t, 32> parts;
    for (uint32_t c = 0; c < kTabled; ++c) {
      if (c >= 0xd800 && c < 0xe000) continue;
      int boundary = 0;
      const auto n = utf8proc_decompose_char(static_cast<int32_t>(c), parts.data(), parts.size(), UTF8PROC_DECOMPOSE, &boundary);
      for (utf8proc_ssize_t i = 1; i < n; ++i) settled[static_cast<size_t>(parts[static_cast<size_t>(i)])] = false;
      if (combining_class(static_cast<int32_t>(c)) != 0) settled[c] = false;
      if (n > 1 && c >= 0xac00 && c < 0xd7a4) continue;  // a Hangul syllable is what its parts compose to
      if (n > 1 || (n == 1 && parts[0] != static_cast<int32_t>(c))) {
        const auto composed = utf8proc_normalize_utf32(parts.data(), n, static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE));
        if (composed != 1 || parts[0] != static_cast<int32_t>(c)) settled[c] = false;
      }
    }
    for (uint32_t c = 0xac00; c < 0xd7a4; c += 28) settled[c] = true;
    for (uint32_t c = 0x1161; c < 0x1200; ++c) settled[c] = false;  // they join the syllable before
    return settled;
  }();
  return table;
}

bool is_nfc_already(std::string_view text) {
  const std::vector<bool>& settled = settled_in_nfc();
  for (size_t at = 0; at < text.size();) {
    const auto lead = static_cast<unsigned char>(text[at]);
    if (lead < 0xcc) {  // below U+0300
      at += lead < 0x80 ? 1 : 2;
      continue;
    }
    const uint32_t c = decode_utf8(text, at);
    if (c < kTabled && !settled[c]) return false;
    at += utf8_length(lead);
  }
  return true;
}

/// Marks between two starters stand in the order of their class, equal ones as they were.
void order_marks(std::vector<int32_t>& text) {
  std::array<std::vector<int32_t>, 256> by_class;
  for (size_t begin = 0; begin < text.size(); ++begin) {
    if (combining_class(text[begin]) == 0) continue;
    size_t end = begin + 1;
    bool sorted = true;
    for (; end < text.size() && combining_class(text[end]) != 0; ++end)
      sorted &= combining_class(text[end - 1]) <= combining_class(text[end]);
    tokenizer_steps += end - begin;
    if (!sorted) {
      for (size_t i = begin; i < end; ++i) by_class[static_cast<size_t>(combining_class(text[i])) & 255].push_back(text[i]);
      size_t at = begin;
      for (std::vector<int32_t>& marks : by_class) {
        for (const int32_t mark : marks) text[at++] = mark;
        marks.clear();
      }
    }
    begin = end - 1;
  }
}

}  // namespace

Normalizer::Step normal_form(NormalForm form) {
  return [form](std::string& text, bool) {
    if (std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; })) return;
    if (form == NormalForm::nfc && is_nfc_already(text)) return;
    const bool compose = form == NormalForm::nfc || form == NormalForm::nfkc;
    const bool compatible = form == NormalForm::nfkc || form == NormalForm::nfkd;
    const auto options = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | (compatible ? UTF8PROC_COMPAT : 0));
    std::vector<int32_t> characters;
    characters.reserve(text.size());
    std::array<int32_t, 64> parts;
    for (size_t at = 0; at < text.size(); at += utf8_length(static_cast<unsigned char>(text[at]))) {
      int boundary = 0;
      const auto n = utf8proc_decompose_char(static_cast<int32_t>(decode_utf8(text, at)), parts.data(), parts.size(), options, &boundary);
      CHECK(n >= 0 && n <= static_cast<utf8proc_ssize_t>(parts.size()), "utf8proc: {}", utf8proc_errmsg(n));
      characters.insert(characters.end(), parts.begin(), parts.begin() + n);
    }
    tokenizer_steps += characters.size();
    order_marks(characters);
    if (compose) {
      const auto n = utf8proc_normalize_utf32(characters.data(), static_cast<utf8proc_ssize_t>(characters.size()),
                                              static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE));
      CHECK(n >= 0, "utf8proc: {}", utf8proc_errmsg(n));
      characters.resize(static_cast<size_t>(n));
    }
    text.clear();
    for (const int32_t c : characters) append_utf8(text, static_cast<uint32_t>(c));
  };
}

Status parse_nfc(const nlohmann::json&, Normalizer& out) {
  out.add(normal_form(NormalForm::nfc), kNormalFormShrinks);
  return {};
}
Status parse_nfd(const nlohmann::json&, Normalizer& out) {
  out.add(normal_form(NormalForm::nfd), kNormalFormShrinks);
  return {};
}
Status parse_nfkc(const nlohmann::json&, Normalizer& out) {
  out.add(normal_form(NormalForm::nfkc), kNormalFormShrinks);
  return {};
}
Status parse_nfkd(const nlohmann::json&, Normalizer& out) {
  out.add(normal_form(NormalForm::nfkd), kNormalFormShrinks);
  return {};
}

}  // namespace sluice
