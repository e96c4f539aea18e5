// jinja2's filter wordwrap: every line is wrapped by itself, as Python's textwrap does it.
#include <algorithm>
#include <vector>

#include "text/chat/operators.h"
#include "text/chat/runtime.h"
#include "text/chat/text_ops.h"
#include "text/chat/unicode.h"

namespace sluice::jinja {
namespace {

struct WrapOptions {
  size_t width;
  bool break_long_words, break_at_hyphens;
};

/// Characters [begin, end) of a line.
struct Chunk {
  size_t begin, end;
  size_t size() const { return end - begin; }
};

class Line {
 public:
  explicit Line(const MarkedText& text) : text_(text), offsets_(code_point_offsets(text.bytes())) {
    for (size_t i = 0; i + 1 < offsets_.size(); ++i) characters_ += code_point_at(text.bytes(), offsets_[i]).value;
  }
  void append(const Chunk& chunk, MarkedText& out) const {
    out.append(text_, offsets_[chunk.begin], offsets_[chunk.end] - offsets_[chunk.begin]);
  }
  bool is_blank(const Chunk& chunk) const {
    return std::ranges::all_of(characters_.substr(chunk.begin, chunk.size()), is_space);
  }
  char32_t operator[](size_t i) const { return characters_[i]; }

  /// White space, dashes between words, and words, of which hyphens may make several.
  std::vector<Chunk> chunks(bool at_hyphens) const {
    std::vector<Chunk> out;
    for (size_t at = 0; at < characters_.size(); at = out.back().end) out.push_back({at, end_of_chunk(at, at_hyphens)});
    return out;
  }

 private:
  // textwrap knows the white space of ASCII only.
  bool is_gap(size_t i) const { return characters_[i] == ' ' || (characters_[i] >= '\t' && characters_[i] <= '\r'); }
  bool is_word(size_t i) const {
    return i < characters_.size() && (is_alpha(characters_[i]) || is_numeric(characters_[i]) || characters_[i] == '_');
  }
  bool is_letter(size_t i) const { return is_word(i) && !is_decimal(characters_[i]); }
  bool is_hyphen(size_t i) const { return i < characters_.size() && characters_[i] == '-'; }
  /// A dash of several hyphens stands at `at`, behind what ends a word and before a word; where it ends, or 0.
  size_t end_of_dash(size_t at) const {
    if (at == 0 || !(is_word(at - 1) || std::u32string_view(U"!\"'&.,?").find(characters_[at - 1]) != std::u32string_view::npos))
      return 0;
    size_t end = at;
    while (is_hyphen(end)) ++end;
    return end >= at + 2 && is_word(end) ? end : 0;
  }
  /// A hyphen behind two letters (of which the first may be followed by one) and before two.
  bool breaks_word(size_t at) const {
    if (!is_hyphen(at) || at < 2 || !is_letter(at - 1)) return false;
    if (!is_letter(at - 2) && !(at >= 3 && is_hyphen(at - 2) && is_letter(at - 3))) return false;
    return is_letter(at + 1) && is_letter(is_hyphen(at + 2) ? at + 3 : at + 2);
  }
  size_t end_of_chunk(size_t at, bool at_hyphens) const {
    size_t end = at;
    if (is_gap(at)) {
      while (end < characters_.size() && is_gap(end)) ++end;
      return end;
    }
    if (const size_t dash = at_hyphens ? end_of_dash(at) : 0; dash > 0) return dash;
    for (end = at + 1; end < characters_.size() && !is_gap(end); ++end) {
      if (at_hyphens && breaks_word(end)) return end + 1;
      if (at_hyphens && end_of_dash(end) > 0) return end;
    }
    return end;
  }

  const MarkedText& text_;
  std::vector<size_t> offsets_;
  std::u32string characters_;
};

std::vector<MarkedText> wrapped(const Line& line, std::vector<Chunk> chunks, const WrapOptions& options, Budget& budget) {
  std::vector<MarkedText> out;
  for (size_t next = 0; next < chunks.size();) {
    budget.step();
    if (!out.empty() && line.is_blank(chunks[next])) ++next;
    std::vector<Chunk> row;
    size_t used = 0;
    for (; next < chunks.size() && used + chunks[next].size() <= options.width; ++next) {
      row.push_back(chunks[next]);
      used += chunks[next].size();
    }
    if (next < chunks.size() && chunks[next].size() > options.width) {  // it fits on no line
      Chunk& word = chunks[next];
      if (options.break_long_words) {
        size_t end = word.begin + options.width - used;
        if (options.break_at_hyphens) {  // behind the last hyphen that fits, if there is something else before it
          size_t hyphen = end;
          while (hyphen > word.begin && line[hyphen - 1] != '-') --hyphen;
          const auto is_other = [&](size_t i) { return line[i] != '-'; };
          bool other = false;
          for (size_t i = word.begin; i + 1 < hyphen && !other; ++i) other = is_other(i);
          if (other) end = hyphen;
        }
        row.push_back({word.begin, end});
        word.begin = end;
      } else if (row.empty()) {
        row.push_back(word);
        ++next;
      }
    }
    if (!row.empty() && line.is_blank(row.back())) row.pop_back();
    if (row.empty()) continue;
    MarkedText& text = out.emplace_back();
    for (const Chunk& chunk : row) line.append(chunk, text);
  }
  return out;
}

}  // namespace

Value word_wrap(Runtime& runtime, const Value& in, const Arguments& args) {
  const Bound bound("wordwrap", args, {"width", "break_long_words", "wrapstring", "break_on_hyphens"});
  Budget& budget = runtime.budget;
  in.defined();
  if (!in.is_text()) fail("UndefinedError", fmt::format("'{} object' has no attribute 'splitlines'", in.type_name()));
  const int64_t width = bound.integer(0, 79);
  const MarkedText separator = bound.text(2) != nullptr ? *bound.text(2) : MarkedText("\n", true);
  // textwrap asks for exactly true where it parts words, and for any truth where it breaks long ones.
  const bool at_hyphens = bound[3] == nullptr || (bound[3]->is_bool() && bound[3]->boolean());
  const WrapOptions options{static_cast<size_t>(std::max<int64_t>(width, 0)), bound.flag(1, true), bound.flag(3, true)};
  std::vector<MarkedText> lines;
  for (const MarkedText& text : split_lines(in.text(), false, budget)) {
    if (width <= 0) fail_value(fmt::format("invalid width {} (must be > 0)", width));
    budget.read(4 * text.size());
    const Line line(text);
    lines.push_back(join(separator, wrapped(line, line.chunks(at_hyphens), options, budget), budget));
  }
  return join(separator, lines, budget);
}

}  // namespace sluice::jinja
