// Precompiled: the character map of a sentencepiece model, which holds Unicode's NFKC and what else its trainer was told. A
// map is the size of a trie in bytes, the trie (a double array as darts-clone lays it out: each unit is 32 bits with the
// offset to the children from bit 10, bit 9 for one that counts 256 times, bit 8 where a value hangs below, and the byte
// in the lowest 8), and the replacements, each ended by a zero.

#include <utf8proc.h>

#include <cstring>
#include <memory>

#include "base/base64.h"
#include "text/tokenizer/normalizers/normalizer.h"
#include "text/tokenizer/parts_catalog.h"
#include "text/tokenizer/step_count.h"
#include "text/tokenizer/utf8.h"

namespace sluice {
namespace {

class CharacterMap {
 public:
  static Result<CharacterMap> open(std::string_view blob) {
    uint32_t bytes = 0;
    if (blob.size() < 4) return corrupt_data(fmt::format("a character map of {} bytes", blob.size()));
    std::memcpy(&bytes, blob.data(), 4);
    if (bytes % 4 != 0 || bytes > blob.size() - 4)
      return corrupt_data(fmt::format("a character map whose trie has {} of {} bytes", bytes, blob.size()));
    CharacterMap map;
    map.units_.resize(bytes / 4);
    std::memcpy(map.units_.data(), blob.data() + 4, bytes);
    map.texts_ = blob.substr(4 + bytes);
    if (!map.texts_.empty() && map.texts_.back() != '\0') return corrupt_data("a character map that ends inside a text");
    if (!is_valid_utf8(map.texts_)) return corrupt_data("a character map whose replacements are not UTF-8");
    return map;
  }

  struct Match {
    size_t bytes = 0;  // 0: there is none
    std::string_view replacement;
  };
  /// The longest, or the shortest, entry that `text` starts with from `at`.
  Match find(std::string_view text, size_t at, bool shortest) const {
    Match match;
    size_t node = 0;
    if (units_.empty()) return match;
    node ^= offset(units_[0]);
    for (size_t i = at; i < text.size() && text[i] != '\0'; ++i) {
      ++tokenizer_steps;
      const uint32_t byte = static_cast<unsigned char>(text[i]);
      node ^= byte;
      if (node >= units_.size() || (units_[node] & (uint32_t{1} << 31 | 0xff)) != byte) break;
      const bool has_value = (units_[node] >> 8 & 1) != 0;
      node ^= offset(units_[node]);
      if (!has_value || node >= units_.size()) continue;
      const size_t begin = units_[node] & ((uint32_t{1} << 31) - 1);
      // A damaged map may end an entry, or begin a replacement, inside a character.
      if (begin >= texts_.size() || is_inside(texts_, begin) || is_inside(text, i + 1)) continue;
      match = {i + 1 - at, std::string_view(texts_).substr(begin, texts_.find('\0', begin) - begin)};
      if (shortest) break;
    }
    return match;
  }

 private:
  static bool is_inside(std::string_view text, size_t at) { return at < text.size() && (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80; }
  static size_t offset(uint32_t unit) { return size_t{unit >> 10} << ((unit & (1u << 9)) >> 6); }
  std::vector<uint32_t> units_;
  std::string texts_;
};

void replace_longest(const CharacterMap& map, std::string& text) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const auto match = map.find(text, at, false);
    const size_t n = match.bytes > 0 ? match.bytes : utf8_length(static_cast<unsigned char>(text[at]));
    match.bytes > 0 ? out.append(match.replacement) : out.append(text, at, n);
    at += n;
  }
  text = std::move(out);
}

/// Of a grapheme cluster of less than 6 bytes the shortest entry that it starts with replaces it as a whole; where there
/// is none, and in longer ones, each character is looked up by itself. That is what models were trained with.
void replace_graphemes(const CharacterMap& map, std::string& text) {
  constexpr size_t kShortCluster = 6;
  std::string out;
  out.reserve(text.size());
  for (size_t begin = 0, end = 0; begin < text.size(); begin = end) {
    utf8proc_int32_t state = 0;
    for (end = begin + utf8_length(static_cast<unsigned char>(text[begin])); end < text.size();) {
      const auto before = static_cast<utf8proc_int32_t>(decode_utf8(text, utf8_before(text, end)));
      if (utf8proc_grapheme_break_stateful(before, static_cast<utf8proc_int32_t>(decode_utf8(text, end)), &state)) break;
      end += utf8_length(static_cast<unsigned char>(text[end]));
    }
    const std::string_view cluster = std::string_view(text).substr(begin, end - begin);
    if (cluster.size() < kShortCluster) {
      if (const auto match = map.find(cluster, 0, true); match.bytes > 0) {
        out.append(match.replacement);
        continue;
      }
    }
    for (size_t at = 0, n; at < cluster.size(); at += n) {
      n = utf8_length(static_cast<unsigned char>(cluster[at]));
      const auto match = map.find(cluster.substr(at, n), 0, true);
      out.append(match.bytes > 0 ? match.replacement : cluster.substr(at, n));
    }
  }
  text = std::move(out);
}

}  // namespace

Result<Normalizer::Step> character_map(std::string blob, CharacterMapBy by) {
  SLUICE_TRY(CharacterMap opened, CharacterMap::open(blob));
  return Normalizer::Step([map = std::make_shared<const CharacterMap>(std::move(opened)), by](std::string& text, bool) {
    by == CharacterMapBy::grapheme ? replace_graphemes(*map, text) : replace_longest(*map, text);
  });
}

Status parse_precompiled(const nlohmann::json& description, Normalizer& out) {
  SLUICE_TRY(const std::string encoded, string_field(description, "precompiled_charsmap"));
  const auto blob = from_base64(encoded);
  if (!blob) return corrupt_data("'precompiled_charsmap' is not base64");
  if (blob->empty()) return {};
  SLUICE_TRY(Normalizer::Step step, character_map(*blob, CharacterMapBy::grapheme));
  out.add(std::move(step), kDropsText);
  return {};
}

}  // namespace sluice
