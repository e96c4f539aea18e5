// Llama 3's pattern, after which runs of white space without a line end are cut into 512, 256, ... 4, 2 and 1 characters. The
// pattern that asks for it tries to reach a line end from each such cut.

#include "text/tokenizer/pre_tokenizers/pieces.h"
#include "text/tokenizer/pre_tokenizers/pre_patterns.h"
#include "text/tokenizer/pre_tokenizers/scanners.h"
#include "text/tokenizer/utf8.h"

namespace sluice {
namespace {

/// Where characters begin, and the end, of a piece that is white space without a line end; empty for another.
void white_space_bounds(std::string_view piece, std::vector<size_t>& bounds) {
  bounds.clear();
  for (size_t at = 0; at < piece.size(); at += utf8_length(static_cast<unsigned char>(piece[at]))) {
    const uint32_t c = decode_utf8(piece, at);
    if (c == '\r' || c == '\n' || !is_white_space(c)) return bounds.clear();
    bounds.push_back(at);
  }
  bounds.push_back(piece.size());
}

}  // namespace

PreTokenizer::Step space_sizes() {
  auto regex = Regex::compile(find_pre_patterns("dbrx")->patterns[0]);
  CHECK(regex.ok(), "{}", regex.error().message);
  return [words = split_on(std::move(regex).value(), SplitBehavior::isolated)](Pieces& pieces) {
    words(pieces);
    std::vector<size_t> bounds;
    cut_pieces(pieces, SplitBehavior::isolated, [&](std::string_view piece, std::vector<Span>& spans) {
      white_space_bounds(piece, bounds);
      if (bounds.empty()) return spans.push_back({0, piece.size(), false});
      for (size_t at = 0, left = bounds.size() - 1; left > 0;) {
        size_t size = 512;
        while (size > left) size /= 2;
        spans.push_back({bounds[at], bounds[at + size], true});
        at += size;
        left -= size;
      }
    });
  };
}

}  // namespace sluice
