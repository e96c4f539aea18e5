#include "text/tokenizer/pattern_dialect.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <optional>
#include <vector>

namespace sluice {
namespace {

// PCRE2 counts U+180E as \s, although it left White_Space with Unicode 6.3.
constexpr std::string_view kWhiteSpace =
    R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
// Oniguruma counts the numbers of Latin-1 as words, and no others but digits.
constexpr std::string_view kWord = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\x{b2}\x{b3}\x{b9}\x{bc}-\x{be})";
constexpr std::string_view kHex = "0-9A-Fa-f";

/// The class that an escaped letter in lower case stands for, where PCRE2 would read another.
std::optional<std::string_view> class_of(char letter) {
  switch (letter) {
    case 's':
      return kWhiteSpace;
    case 'w':
      return kWord;
    case 'h':
      return kHex;
    default:
      return std::nullopt;
  }
}

bool compiles(const std::string& pattern) {
  int error = 0;
  PCRE2_SIZE where = 0;
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), PCRE2_UTF | PCRE2_UCP, &error, &where, nullptr);
  pcre2_code_free(code);
  return code != nullptr;
}

/// Takes the property that \p or \P is followed by from the pattern, if it is in braces. A script's name means its own characters;
/// PCRE2 reads those that it shares with others into it.
std::string property_at(std::string_view pattern, size_t& at) {
  const size_t end = pattern.find('}', at);
  if (at >= pattern.size() || pattern[at] != '{' || end == std::string_view::npos) return {};
  std::string_view name = pattern.substr(at + 1, end - at - 1);
  at = end + 1;
  const bool negated = name.starts_with('^');
  if (negated) name.remove_prefix(1);
  const std::string script = fmt::format("{{{}sc:{}}}", negated ? "^" : "", name);
  return compiles("\\p" + script) ? script : fmt::format("{{{}{}}}", negated ? "^" : "", name);
}

constexpr std::string_view kCategories[] = {"Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Pc", "Pd", "Ps", "Pe",
                                            "Pi", "Pf", "Po", "Sm", "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Co", "Cn"};

/// The categories that a set of nothing but categories leaves out; nothing for another set. With them [a&&[^b]] is one set,
/// which is much cheaper to repeat than a look-ahead.
std::optional<std::string> other_categories(std::string_view set) {
  std::vector<std::string_view> named;
  while (!set.empty()) {
    const size_t end = set.find('}');
    if (!set.starts_with(R"(\p{)") || end == std::string_view::npos || end > 5) return std::nullopt;
    named.push_back(set.substr(3, end - 3));
    set.remove_prefix(end + 1);
  }
  std::string others;
  for (const std::string_view category : kCategories) {
    bool is_named = false;
    for (const std::string_view name : named) is_named |= category.starts_with(name);
    if (!is_named) others.append("\\p{").append(category).append("}");
  }
  return others;
}

/// Rewrites what stands inside [ and ], the brackets included; `at` moves behind it.
Result<std::string> rewrite_class(std::string_view pattern, size_t& at) {
  const size_t start = at++;
  std::vector<std::string> sides(1);  // of &&
  bool negated = false;
  if (at < pattern.size() && pattern[at] == '^') negated = true, ++at;
  for (bool first = true;; first = false) {
    if (at >= pattern.size()) return unsupported(fmt::format("'[' at offset {} without ']'", start));
    std::string& out = sides.back();
    const char c = pattern[at];
    if (c == ']' && !first) {
      ++at;
      break;
    }
    if (c == '\\' && at + 1 < pattern.size()) {
      const char letter = pattern[at + 1];
      if (const auto known = class_of(letter))
        out += *known;
      else
        out += {c, letter};
      at += 2;
      if (letter == 'p' || letter == 'P') out += property_at(pattern, at);
    } else if (c == '&' && at + 1 < pattern.size() && pattern[at + 1] == '&') {
      sides.emplace_back();
      at += 2;
    } else if (c == '[' && at + 1 < pattern.size() && pattern[at + 1] == ':') {  // [:name:]
      const size_t end = pattern.find(":]", at);
      if (end == std::string_view::npos) return unsupported(fmt::format("'[:' at offset {} without ':]'", at));
      out.append(pattern.substr(at, end + 2 - at));
      at = end + 2;
    } else if (c == '[') {
      const size_t inner_start = at;
      SLUICE_TRY(const std::string inner, rewrite_class(pattern, at));
      const bool plain = inner.size() > 2 && inner[0] == '[' && inner[1] != '^';
      const bool whole_side = out.empty() && at < pattern.size() && (pattern[at] == ']' || pattern[at] == '&');
      if (plain)
        out.append(inner, 1, inner.size() - 2);
      else if (whole_side && sides.size() > 1 && inner[0] == '[')
        out.append(inner, 1, inner.size() - 2);
      else
        return unsupported(fmt::format("a set inside a set at offset {}", inner_start));
    } else {
      out.push_back(c);
      ++at;
    }
  }
  const auto in_brackets = [](const std::string& side) { return "[" + side + "]"; };
  if (sides.size() == 1) return std::string(negated ? "[^" : "[") + sides[0] + "]";
  if (sides.size() == 2 && !negated && sides[1].starts_with('^'))
    if (const auto others = other_categories(sides[0])) return "[^" + *others + sides[1].substr(1) + "]";
  std::string all;
  for (size_t i = 0; i + 1 < sides.size(); ++i) all += "(?=" + in_brackets(sides[i]) + ")";
  all += in_brackets(sides.back());
  if (negated) return "(?:(?!" + all + R"()[\x{0}-\x{10ffff}]))";
  return "(?:" + all + ")";
}

}  // namespace

Result<std::string> to_pcre2(std::string_view pattern) {
  std::string out;
  for (size_t at = 0; at < pattern.size();) {
    const char c = pattern[at];
    if (c == '[') {
      SLUICE_TRY(const std::string rewritten, rewrite_class(pattern, at));
      out += rewritten;
    } else if (c == '\\' && at + 1 < pattern.size()) {
      const char letter = pattern[at + 1];
      at += 2;
      const auto small = class_of(letter), large = class_of(static_cast<char>(letter | 0x20));
      if (small) {
        out.append("[").append(*small).append("]");
      } else if (large && letter >= 'A' && letter <= 'Z') {
        out.append("[^").append(*large).append("]");
      } else if (letter == 'b') {
        out += fmt::format("(?:(?<=[{0}])(?![{0}])|(?<![{0}])(?=[{0}]))", kWord);
      } else {
        out += {c, letter};
        if (letter == 'p' || letter == 'P') out += property_at(pattern, at);
      }
    } else {
      out += c;
      ++at;
    }
  }
  return out;
}

}  // namespace sluice
