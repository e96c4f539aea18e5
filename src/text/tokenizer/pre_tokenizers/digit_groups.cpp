// Digits in groups of three counted from the right. A number is looked at once.

#include <utf8proc.h>

#include "text/tokenizer/pre_tokenizers/pieces.h"
#include "text/tokenizer/pre_tokenizers/scanners.h"
#include "text/tokenizer/step_count.h"
#include "text/tokenizer/utf8.h"

namespace sluice {
namespace {

bool is_digit(uint32_t c) {
  return c < 0x80 ? c >= '0' && c <= '9'
                  : utf8proc_category(static_cast<utf8proc_int32_t>(c)) == UTF8PROC_CATEGORY_ND;
}

/// \w of the engine for which the patterns were written.
bool is_word(uint32_t c) {
  const bool is_joiner = c == 0x200c || c == 0x200d, is_latin_number = c == 0xb2 || c == 0xb3 || c == 0xb9 || (c >= 0xbc && c <= 0xbe);
  return (is_word_character(c) && !is_joiner) || is_latin_number;
}

struct Grouping {
  bool needs_boundary = false;  // behind the number
  bool isolates = true;         // the first group is cut from what is before it
};

PreTokenizer::Step group_digits(Grouping how) {
  return [how](Pieces& pieces) {
    cut_pieces(pieces, SplitBehavior::isolated, [&](std::string_view piece, std::vector<Span>& spans) {
      std::vector<size_t> digits;  // where those of one number begin
      size_t from = 0;
      for (size_t at = 0; at < piece.size();) {
        digits.clear();
        while (at < piece.size() && is_digit(decode_utf8(piece, at))) {
          digits.push_back(at);
          at += utf8_length(static_cast<unsigned char>(piece[at]));
        }
        tokenizer_steps += digits.size() + 1;
        const bool held = at < piece.size() && how.needs_boundary && is_word(decode_utf8(piece, at));
        if (!digits.empty() && !held) {
          const size_t rest = digits.size() % 3;
          for (size_t i = 0; i < digits.size(); ++i) {
            const bool begins = i == 0 ? how.isolates || rest == 0 : i % 3 == rest;
            if (!begins || digits[i] == from) continue;
            spans.push_back({from, digits[i], false});
            from = digits[i];
          }
          if (how.isolates) {
            spans.push_back({from, at, true});
            from = at;
          }
        }
        if (at < piece.size()) at += utf8_length(static_cast<unsigned char>(piece[at]));
      }
      if (from < piece.size()) spans.push_back({from, piece.size(), false});
    });
  };
}

}  // namespace

PreTokenizer::Step groups_before_boundary() { return group_digits({.needs_boundary = true}); }
PreTokenizer::Step groups_from_the_right() { return group_digits({}); }
PreTokenizer::Step between_groups() { return group_digits({.isolates = false}); }

}  // namespace sluice
