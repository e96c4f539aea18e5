// \s+$: white space at the end of a line, up to the last line end in it or the end of the text.

#include "text/tokenizer/pre_tokenizers/pieces.h"
#include "text/tokenizer/pre_tokenizers/scanners.h"
#include "text/tokenizer/step_count.h"
#include "text/tokenizer/utf8.h"

namespace sluice {

PreTokenizer::Step line_ends() {
  return [](Pieces& pieces) {
    cut_pieces(pieces, SplitBehavior::isolated, [](std::string_view piece, std::vector<Span>& spans) {
      tokenizer_steps += piece.size();
      size_t from = 0;
      for (size_t at = 0; at < piece.size();) {
        const size_t begin = at;
        size_t last_line = begin;  // the last line end that is not the first character
        while (at < piece.size() && is_white_space(decode_utf8(piece, at))) {
          if (piece[at] == '\n' && at > begin) last_line = at;
          at += utf8_length(static_cast<unsigned char>(piece[at]));
        }
        const size_t end = at == piece.size() ? at : last_line;
        if (end > begin) {
          if (begin > from) spans.push_back({from, begin, false});
          spans.push_back({begin, end, true});
          from = end;
        }
        if (at < piece.size()) at += utf8_length(static_cast<unsigned char>(piece[at]));
      }
      if (from < piece.size()) spans.push_back({from, piece.size(), false});
    });
  };
}

}  // namespace sluice
