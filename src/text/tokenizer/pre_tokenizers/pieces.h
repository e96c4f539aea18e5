#pragma once
// What the steps of a pre-tokenizer share: walking over pieces, and cutting them.

#include "text/tokenizer/pre_tokenizers/pre_tokenizer.h"

namespace sluice {

/// Calls f(piece, begin) for every piece of `pieces`.
template <class F>
void for_each_piece(const Pieces& pieces, F&& f) {
  size_t begin = 0;
  for (const size_t end : pieces.ends) {
    f(std::string_view(pieces.text).substr(begin, end - begin), begin);
    begin = end;
  }
}

/// A part of a piece: a match, or what is between matches.
struct Span {
  size_t begin, end;
  bool match;
};

/// Cuts every piece as `behavior` says: spans_of(piece, spans) gives its spans, in order and covering it. A match may be
/// empty.
template <class F>
void cut_pieces(Pieces& pieces, SplitBehavior behavior, F&& spans_of) {
  std::vector<size_t> ends;
  ends.reserve(pieces.ends.size() + pieces.text.size() / 4);
  std::vector<Span> spans;
  std::string kept;
  bool from_start = pieces.from_start;
  for_each_piece(pieces, [&](std::string_view piece, size_t base) {
    spans.clear();
    spans_of(piece, spans);
    for (size_t i = 0; i < spans.size(); ++i) {
      const Span& span = spans[i];
      if (behavior == SplitBehavior::removed) {
        if (span.match || span.begin == span.end) {
          if (base == 0 && span.begin == 0 && span.end > 0) from_start = false;
          continue;
        }
        kept.append(piece.substr(span.begin, span.end - span.begin));
        ends.push_back(kept.size());
        continue;
      }
      const bool last = i + 1 == spans.size();
      const bool joins_next =
          !last && ((behavior == SplitBehavior::merged_with_previous && !span.match && spans[i + 1].match) ||
                    (behavior == SplitBehavior::merged_with_next && span.match && !spans[i + 1].match) ||
                    (behavior == SplitBehavior::contiguous && span.match == spans[i + 1].match));
      const size_t end = base + span.end;
      if (!joins_next && end > (ends.empty() ? 0 : ends.back())) ends.push_back(end);
    }
  });
  if (behavior == SplitBehavior::removed) pieces.text = std::move(kept);
  pieces.ends = std::move(ends);
  pieces.from_start = from_start;
}

}  // namespace sluice
