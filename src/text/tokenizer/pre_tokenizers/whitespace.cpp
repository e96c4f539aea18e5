// Whitespace: runs of word characters, and runs of others that are no white space.

#include "text/tokenizer/pre_tokenizers/pieces.h"
#include "text/tokenizer/utf8.h"

namespace sluice {

Status parse_whitespace(const nlohmann::json&, PreTokenizer& out) {
  if (out.byte_level) out.spell_bytes();
  out.add([](Pieces& pieces) {
    cut_pieces(pieces, SplitBehavior::removed, [](std::string_view piece, std::vector<Span>& spans) {
      enum class Class { space, word, other };
      Class run = Class::space;
      size_t from = 0;
      for (size_t at = 0; at <= piece.size();) {
        Class next = Class::space;
        if (at < piece.size()) {
          const uint32_t c = decode_utf8(piece, at);
          next = is_white_space(c) ? Class::space : is_word_character(c) ? Class::word : Class::other;
        }
        if (next != run || at == piece.size()) {
          if (at > from) spans.push_back({from, at, run == Class::space});
          from = at;
          run = next;
        }
        at += at < piece.size() ? utf8_length(static_cast<unsigned char>(piece[at])) : 1;
      }
    });
  });
  out.drops_text = true;
  return {};
}

}  // namespace sluice
