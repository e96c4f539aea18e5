#include "text/chat/lexer.h"

#include <algorithm>
#include <array>

#include "text/chat/template_error.h"
#include "text/chat/unicode.h"

namespace sluice::jinja {
namespace {

/// One kind of line end, and without the single newline that ends a file.
std::string normalized(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r' && i + 1 < source.size() && source[i + 1] == '\n') continue;
    out += source[i] == '\r' ? '\n' : source[i];
  }
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

bool is_name_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || static_cast<unsigned char>(c) >= 0x80;
}
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_name_part(char c) { return is_name_start(c) || is_digit(c); }

class Lexer {
 public:
  explicit Lexer(std::string source) : s_(std::move(source)) {}

  std::vector<Token> run() {
    while (pos_ < s_.size()) root();
    add(TokenKind::end, "");
    return std::move(tokens_);
  }

 private:
  bool at(size_t pos, std::string_view text) const { return s_.compare(pos, text.size(), text) == 0; }

  void add(TokenKind kind, std::string text) { tokens_.push_back({kind, std::move(text), line_}); }

  /// Moves to `to`, counting lines, and notes whether what follows starts a line.
  void advance(size_t to) {
    line_ += static_cast<int>(std::count(s_.begin() + static_cast<std::ptrdiff_t>(pos_),
                                         s_.begin() + static_cast<std::ptrdiff_t>(to), '\n'));
    if (to > pos_) line_starting_ = s_[to - 1] == '\n';
    pos_ = to;
  }

  size_t skip_space(size_t pos) const {
    while (pos < s_.size()) {
      const auto c = code_point_at(s_, pos);
      if (!is_space(c.value)) break;
      pos += c.bytes;
    }
    return pos;
  }

  /// The end of data [begin, end) that precedes a tag, after the tag's sign and lstrip_blocks have had their say.
  size_t trimmed_end(size_t begin, size_t end, char sign, bool is_variable) const {
    if (sign == '-') {
      while (end > begin) {
        size_t last = end - 1;
        while (last > begin && (static_cast<unsigned char>(s_[last]) & 0xC0) == 0x80) --last;
        if (!is_space(code_point_at(s_, last).value)) break;
        end = last;
      }
      return end;
    }
    if (sign == '+' || is_variable) return end;
    size_t line_begin = end;
    while (line_begin > begin && s_[line_begin - 1] != '\n') --line_begin;
    if (line_begin == begin && !line_starting_) return end;
    return skip_space(line_begin) >= end ? line_begin : end;
  }

  void data_until(size_t tag, char sign, bool is_variable) {
    const size_t end = trimmed_end(pos_, tag, sign, is_variable);
    if (end > pos_) add(TokenKind::data, s_.substr(pos_, end - pos_));
    advance(tag);
  }

  char sign_at(size_t pos) const { return pos < s_.size() && (s_[pos] == '-' || s_[pos] == '+') ? s_[pos] : 0; }

  void root() {
    size_t tag = s_.find('{', pos_);
    while (tag != std::string::npos &&
           !(tag + 1 < s_.size() && std::string_view("%{#").find(s_[tag + 1]) != std::string::npos))
      tag = s_.find('{', tag + 1);
    if (tag == std::string::npos) {
      add(TokenKind::data, s_.substr(pos_));
      pos_ = s_.size();
      return;
    }
    const char kind = s_[tag + 1], sign = sign_at(tag + 2);
    const size_t inside = tag + 2 + (sign != 0 ? 1 : 0);
    data_until(tag, sign, kind == '{');
    if (kind == '#') return comment(inside);
    if (kind == '%')
      if (const size_t raw = keyword_tag_end(inside, "raw", false); raw != 0) return raw_block(raw);
    add(kind == '%' ? TokenKind::block_begin : TokenKind::variable_begin, "");
    advance(inside);
    tag_body(kind == '%');
  }

  void comment(size_t inside) {
    if (inside == s_.size()) return advance(inside);  // jinja2 lets a bare {# end the source
    const size_t close = s_.find("#}", inside);
    if (close == std::string::npos) fail_syntax("Missing end of comment tag", line_);
    const char sign = close > inside ? sign_at(close - 1) : 0;
    advance(tag_end(close + 2, sign, true));
  }

  /// Where a tag whose closing bracket ends at `after` really ends: `-` eats whitespace, a block eats its newline.
  size_t tag_end(size_t after, char sign, bool is_block) const {
    if (sign == '-') return skip_space(after);
    if (is_block && sign != '+' && after < s_.size() && s_[after] == '\n') return after + 1;
    return after;
  }

  /// Past `word -%}` or `word %}` at `pos` (after `{%` and its sign); 0 where that is not what stands there.
  size_t keyword_tag_end(size_t pos, std::string_view word, bool closes_block) const {
    pos = skip_space(pos);
    if (!at(pos, word)) return 0;
    pos = skip_space(pos + word.size());
    const char sign = sign_at(pos);
    if (sign == '+' && !closes_block) return 0;
    if (sign != 0) ++pos;
    return at(pos, "%}") ? tag_end(pos + 2, sign, closes_block) : 0;
  }

  void raw_block(size_t body) {
    const int opened_line = line_;
    advance(body);
    if (body == s_.size()) return;  // and a bare raw tag
    for (size_t tag = s_.find("{%", pos_); tag != std::string::npos; tag = s_.find("{%", tag + 2)) {
      const char sign = sign_at(tag + 2);
      const size_t end = keyword_tag_end(tag + 2 + (sign != 0 ? 1 : 0), "endraw", true);
      if (end == 0) continue;
      data_until(tag, sign, false);
      advance(end);
      return;
    }
    fail_syntax("Missing end of raw directive", opened_line);
  }

  void tag_body(bool is_block) {
    const std::string_view closing = is_block ? "%}" : "}}";
    std::string brackets;
    while (true) {
      const size_t next = skip_space(pos_);
      if (brackets.empty()) {
        const char sign = sign_at(next);
        const bool signed_end = sign != 0 && at(next + 1, closing) && (is_block || sign == '-');
        if (signed_end || at(next, closing)) {
          advance(next);
          add(is_block ? TokenKind::block_end : TokenKind::variable_end, "");
          advance(tag_end(next + (signed_end ? 3 : 2), signed_end ? sign : 0, is_block));
          return;
        }
      }
      advance(next);
      if (pos_ >= s_.size()) fail_syntax("the source ends inside a tag", line_);
      expression_token(brackets);
    }
  }

  void expression_token(std::string& brackets) {
    const char c = s_[pos_];
    if (is_name_start(c)) {
      size_t end = pos_ + 1;
      while (end < s_.size() && is_name_part(s_[end])) ++end;
      add(TokenKind::name, s_.substr(pos_, end - pos_));
      return advance(end);
    }
    if (is_digit(c)) return number();
    if (c == '\'' || c == '"') return string();
    static constexpr std::array<std::string_view, 6> kTwo = {"//", "**", "==", "!=", ">=", "<="};
    const std::string_view rest = std::string_view(s_).substr(pos_);
    const auto two = std::find_if(kTwo.begin(), kTwo.end(), [&](auto op) { return rest.starts_with(op); });
    const size_t length = two != kTwo.end() ? 2 : 1;
    if (length == 1 && std::string_view("+-/*%~[](){}><=.:|,;").find(c) == std::string::npos)
      fail_syntax(fmt::format("unexpected char '{}' at byte {}", s_.substr(pos_, code_point_at(s_, pos_).bytes), pos_),
                  line_);
    if (c == '(' || c == '[' || c == '{') brackets += c == '(' ? ')' : c == '[' ? ']' : '}';
    if (c == ')' || c == ']' || c == '}') {
      if (brackets.empty()) fail_syntax(fmt::format("unexpected '{}'", c), line_);
      if (brackets.back() != c) fail_syntax(fmt::format("unexpected '{}', expected '{}'", c, brackets.back()), line_);
      brackets.pop_back();
    }
    add(TokenKind::op, std::string(rest.substr(0, length)));
    advance(pos_ + length);
  }

  /// Digits from `pos` on, each but the first with an optional underscore before it.
  template <class IsDigit>
  size_t digits(size_t pos, std::string& out, IsDigit is) const {
    while (pos < s_.size()) {
      const size_t digit = s_[pos] == '_' ? pos + 1 : pos;
      if (digit >= s_.size() || !is(s_[digit])) break;
      out += s_[digit];
      pos = digit + 1;
    }
    return pos;
  }

  void number() {
    const auto lower = [&](size_t i) { return i < s_.size() ? static_cast<char>(s_[i] | 0x20) : '\0'; };
    std::string text;
    if (s_[pos_] == '0' && (lower(pos_ + 1) == 'x' || lower(pos_ + 1) == 'o' || lower(pos_ + 1) == 'b')) {
      const char base = lower(pos_ + 1);
      const size_t end = digits(pos_ + 2, text, [&](char c) {
        if (base == 'b') return c == '0' || c == '1';
        if (base == 'o') return c >= '0' && c <= '7';
        return is_digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
      });
      if (!text.empty()) {
        add(TokenKind::integer, std::string("0") + base + text);
        return advance(end);
      }
    }
    size_t end = digits(pos_, text, is_digit);
    // After a dot, digits are an attribute (x.0), never the start of a float.
    const bool after_dot = !tokens_.empty() && tokens_.back().text == "." && tokens_.back().kind == TokenKind::op;
    bool real = false;
    if (!after_dot && end + 1 < s_.size() && s_[end] == '.' && is_digit(s_[end + 1])) {
      real = true;
      text += '.';
      end = digits(end + 1, text, is_digit);
    }
    if (!after_dot && lower(end) == 'e') {
      const size_t first = end + 1 + (sign_at(end + 1) != 0 ? 1 : 0);
      if (first < s_.size() && is_digit(s_[first])) {
        real = true;
        text += 'e' + (first > end + 1 ? std::string(1, s_[end + 1]) : std::string());
        end = digits(first, text, is_digit);
      }
    }
    add(real ? TokenKind::real : TokenKind::integer, text);
    advance(end);
  }

  void string() {
    const char quote = s_[pos_];
    std::string out;
    size_t i = pos_ + 1;
    while (true) {
      if (i >= s_.size()) fail_syntax("a string without its closing quote", line_);
      if (s_[i] == quote) break;
      if (s_[i] != '\\') {
        out += s_[i++];
      } else {
        if (++i >= s_.size()) fail_syntax("a string without its closing quote", line_);
        i = escape(i, out);
      }
    }
    add(TokenKind::string, std::move(out));
    advance(i + 1);
  }

  /// Decodes the escape whose letter is at `i`; returns the position after it.
  size_t escape(size_t i, std::string& out) {
    const char c = s_[i];
    static constexpr std::string_view kLetters = "abfnrtv\\'\"", kMeaning = "\a\b\f\n\r\t\v\\'\"";
    if (const size_t k = kLetters.find(c); k != std::string_view::npos) {
      out += kMeaning[k];
      return i + 1;
    }
    if (c == '\n') return i + 1;
    if (c == 'x' || c == 'u' || c == 'U') {
      const size_t count = c == 'x' ? 2 : c == 'u' ? 4 : 8;
      char32_t value = 0;
      for (size_t k = 1; k <= count; ++k) {
        const int d = i + k < s_.size() ? hex_digit(s_[i + k]) : -1;
        if (d < 0) fail_syntax(fmt::format("truncated \\{} escape in a string", c), line_);
        value = value * 16 + static_cast<char32_t>(d);
      }
      append_utf8(out, value);
      return i + 1 + count;
    }
    if (c >= '0' && c <= '7') {
      char32_t value = 0;
      size_t k = i;
      for (; k < i + 3 && k < s_.size() && s_[k] >= '0' && s_[k] <= '7'; ++k)
        value = value * 8 + static_cast<char32_t>(s_[k] - '0');
      append_utf8(out, value);
      return k;
    }
    if (c == 'N') fail_syntax("\\N{...} escapes are not supported", line_);
    out += '\\';
    out += c;
    return i + 1;
  }

  static int hex_digit(char c) {
    if (is_digit(c)) return c - '0';
    const char l = static_cast<char>(c | 0x20);
    return l >= 'a' && l <= 'f' ? l - 'a' + 10 : -1;
  }

  const std::string s_;
  std::vector<Token> tokens_;
  size_t pos_ = 0;
  int line_ = 1;
  bool line_starting_ = true;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source) { return Lexer(normalized(source)).run(); }

}  // namespace sluice::jinja
