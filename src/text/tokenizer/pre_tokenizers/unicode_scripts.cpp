// UnicodeScripts: a new piece begins where the script changes, as sentencepiece cuts when it trains.

#include <algorithm>
#include <iterator>

#include "text/tokenizer/pre_tokenizers/pieces.h"
#include "text/tokenizer/utf8.h"

namespace sluice {
namespace {

struct ScriptRange {
  uint32_t first, last;
  uint8_t script;
};

constexpr ScriptRange kScripts[] = {
#include "text/tokenizer/pre_tokenizers/unicode_scripts.inc"
};
constexpr int kAny = 0, kNoneYet = -1;

int script_of(uint32_t c) {
  const auto after = std::upper_bound(std::begin(kScripts), std::end(kScripts), c,
                                      [](uint32_t v, const ScriptRange& r) { return v < r.first; });
  return after != std::begin(kScripts) && c <= std::prev(after)->last ? std::prev(after)->script : kAny;
}

}  // namespace

Status parse_unicode_scripts(const nlohmann::json&, PreTokenizer& out) {
  if (out.byte_level) out.spell_bytes();
  out.add([](Pieces& pieces) {
    cut_pieces(pieces, SplitBehavior::removed, [](std::string_view piece, std::vector<Span>& spans) {
      size_t from = 0;
      int last = kNoneYet;  // characters in no script before the first that is in one are dropped
      for (size_t at = 0; at < piece.size(); at += utf8_length(static_cast<unsigned char>(piece[at]))) {
        const int script = script_of(decode_utf8(piece, at));
        if (script == kAny) continue;
        if (script != last) {
          if (at > from) spans.push_back({from, at, last == kNoneYet});
          from = at;
        }
        last = script;
      }
      if (from < piece.size()) spans.push_back({from, piece.size(), last == kNoneYet});
    });
  });
  out.drops_text = true;
  return {};
}

}  // namespace sluice
