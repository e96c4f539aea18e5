// jinja2's filter urlize: what looks like an address in a text becomes a link. jinja2 asks two regular expressions; what they
// accept is decided here in one pass.
#include <algorithm>
#include <set>

#include "text/chat/html.h"
#include "text/chat/operators.h"
#include "text/chat/runtime.h"
#include "text/chat/text_ops.h"
#include "text/chat/unicode.h"

namespace sluice::jinja {
namespace {

bool is_word(char32_t c) { return is_alpha(c) || is_numeric(c) || c == '_'; }

/// The ASCII letter that a pattern without regard to case takes the character for.
char32_t folded(char32_t c) {
  if (c >= 'A' && c <= 'Z') return c | 0x20;
  return c == 0x130 || c == 0x131 ? 'i' : c == 0x17f ? 's' : c == 0x212a ? 'k' : c;
}
bool is_letter(char32_t c) { return folded(c) >= 'a' && folded(c) <= 'z'; }
bool is_hexadecimal(char32_t c) { return is_decimal(c) || (folded(c) >= 'a' && folded(c) <= 'f'); }

using Characters = std::u32string_view;

/// Takes `start`, without regard to case, from the front.
bool take(Characters& text, std::u32string_view start) {
  if (text.size() < start.size()) return false;
  for (size_t i = 0; i < start.size(); ++i)
    if (folded(text[i]) != start[i]) return false;
  text.remove_prefix(start.size());
  return true;
}

/// Takes up to `most` characters of a kind; how many there were.
template <class Kind>
size_t take_while(Characters& text, size_t most, Kind kind) {
  size_t n = 0;
  while (n < text.size() && n < most && kind(text[n])) ++n;
  text.remove_prefix(n);
  return n;
}

/// Behind the host: a port, then a path, a query or a fragment; each may be left out.
bool is_rest(Characters text) {
  if (text.starts_with(U':')) {
    text.remove_prefix(1);
    if (take_while(text, 5, is_decimal) == 0) return false;
  }
  return text.empty() || text[0] == '/' || text[0] == '?' || text[0] == '#';
}

bool is_label_character(char32_t c) { return is_word(c) || c == '%' || c == '-'; }

/// Dotted labels up to the last, which `is_last` judges; those before have so many characters at least and at most.
template <class Last>
bool is_host(Characters text, size_t least, size_t most, Last is_last, size_t least_labels) {
  for (size_t labels = 0;; ++labels) {
    const Characters at = text;
    const size_t n = take_while(text, text.size(), is_label_character);
    if (!text.starts_with(U'.')) return labels >= least_labels && is_last(at.substr(0, n)) && is_rest(text);
    if (n < least || n > most) return false;
    text.remove_prefix(1);
  }
}

bool is_top_domain(Characters label) {
  if (label.size() >= 2 && label.size() <= 63 && std::ranges::all_of(label, is_letter)) return true;
  if (!take(label, U"xn--")) return false;
  return label.size() >= 2 && label.size() <= 59 && std::ranges::all_of(label, [](char32_t c) { return is_word(c) || c == '%'; });
}

bool is_basic_top_domain(Characters label) {
  constexpr std::u32string_view kBasic[] = {U"com", U"net", U"int", U"edu", U"gov", U"org", U"info", U"mil"};
  return std::ranges::any_of(kBasic, [&](std::u32string_view name) { return label.size() == name.size() && take(label, name); });
}

bool is_ip_address(Characters text) {
  if (text.starts_with(U'[')) {
    text.remove_prefix(1);
    for (int group = 0; group < 2; ++group) {
      take_while(text, 4, is_hexadecimal);
      if (!take(text, U":")) return false;
    }
    for (int group = 0; group < 6; ++group) {
      take_while(text, 4, is_hexadecimal);
      take(text, U":");
    }
    return take(text, U"]") && is_rest(text);
  }
  for (int part = 0; part < 4; ++part) {
    if (part > 0 && !take(text, U".")) return false;
    if (take_while(text, 3, is_decimal) == 0) return false;
  }
  return is_rest(text);
}

bool is_address(Characters text) {
  Characters behind = text;
  if (take(behind, U"https://") || take(behind, U"http://"))
    if (is_host(behind, 1, behind.size(), is_top_domain, 0) || is_ip_address(behind)) return true;
  behind = text;
  if (take(behind, U"www.") && is_host(behind, 1, behind.size(), is_top_domain, 0)) return true;
  return is_host(text, 2, 63, is_basic_top_domain, 1);
}

bool is_mail_address(Characters text) {
  const size_t at = text.rfind(U'@');
  if (at == Characters::npos || at == 0) return false;
  const Characters domain = text.substr(at + 1);
  const size_t dot = domain.rfind(U'.');
  if (dot == Characters::npos || dot == 0 || dot + 1 == domain.size() || !is_word(domain[0])) return false;
  return std::ranges::all_of(domain.substr(0, dot), [](char32_t c) { return is_word(c) || c == '.' || c == '-'; }) &&
         std::ranges::all_of(domain.substr(dot + 1), is_word);
}

size_t count(std::string_view s, std::string_view what) {
  size_t n = 0;
  for (size_t at = s.find(what); at != std::string_view::npos; at = s.find(what, at + what.size())) ++n;
  return n;
}

struct LinkOptions {
  std::optional<int64_t> limit;  // characters of a link's text
  MarkedText attributes;         // rel and target
  std::vector<MarkedText> schemes;
};

/// Leading brackets and trailing marks are not part of an address, except that brackets in it are balanced.
std::pair<size_t, size_t> address_range(std::string_view word) {
  size_t begin = 0;
  const auto unit = [&](size_t at) { return word.substr(at, 4) == "&lt;" ? 4u : word.substr(at, 1) == "(" || word.substr(at, 1) == "<" ? 1u : 0u; };
  while (unit(begin) > 0) begin += unit(begin);
  size_t end = word.size();
  while (end > begin) {
    const bool mark = std::string_view(")>.,\n").find(word[end - 1]) != std::string_view::npos;
    if (!mark && !(end >= begin + 4 && word.substr(end - 4, 4) == "&gt;")) break;
    end -= mark ? 1 : 4;
  }
  for (const auto& [open, close] : {std::pair<std::string_view, std::string_view>("(", ")"), {"<", ">"}, {"&lt;", "&gt;"}}) {
    const size_t opened = count(word.substr(begin, end - begin), open);
    if (opened <= count(word.substr(begin, end - begin), close)) continue;
    for (size_t n = std::min(opened, count(word.substr(end), close)); n > 0; --n) end = word.find(close, end) + close.size();
  }
  return {begin, end};
}

MarkedText shortened(const MarkedText& text, const LinkOptions& options) {
  if (!options.limit) return text;
  const auto offsets = code_point_offsets(text.bytes());
  const auto size = static_cast<int64_t>(offsets.size()) - 1;
  if (size <= *options.limit) return text;
  const int64_t kept = *options.limit < 0 ? std::max<int64_t>(size + *options.limit, 0) : *options.limit;
  MarkedText out = text.slice(0, offsets[static_cast<size_t>(kept)]);
  out.append("...", true);
  return out;
}

MarkedText link(std::string_view before, const MarkedText& address, const MarkedText& attributes, const MarkedText& shown) {
  MarkedText out("<a href=\"" + std::string(before), true);
  out.append(address);
  out.append("\"", true);
  out.append(attributes);
  out.append(">", true);
  out.append(shown);
  out.append("</a>", true);
  return out;
}

MarkedText linked(const MarkedText& text, const LinkOptions& options) {
  const std::string& s = text.bytes();
  std::u32string decoded;
  for (size_t i = 0; i < s.size();) {
    const CodePoint c = code_point_at(s, i);
    decoded += c.value;
    i += c.bytes;
  }
  const Characters characters = decoded;
  if (is_address(characters)) {
    const bool whole = s.starts_with("https://") || s.starts_with("http://");
    return link(whole ? "" : "https://", text, options.attributes, shortened(text, options));
  }
  constexpr std::string_view kMail = "mailto:";
  if (s.starts_with(kMail) && is_mail_address(characters.substr(kMail.size())))
    return link("", text, {}, text.slice(kMail.size(), s.size() - kMail.size()));
  if (!s.starts_with("www.") && !s.starts_with('@') && s.find(':') == std::string::npos && is_mail_address(characters))
    return link(kMail, text, {}, text);
  for (const MarkedText& scheme : options.schemes)  // once it is a link, it begins with no scheme
    if (s != scheme.bytes() && s.starts_with(scheme.bytes())) return link("", text, options.attributes, text);
  return text;
}

/// At least two characters, a colon, and up to two slashes.
bool is_scheme(std::string_view text) {
  const size_t colon = text.find(':');
  if (colon == std::string_view::npos) return false;
  const std::string_view name = text.substr(0, colon), slashes = text.substr(colon + 1);
  size_t characters = 0;
  for (size_t i = 0; i < name.size(); ++characters) {
    const CodePoint c = code_point_at(name, i);
    if (!is_word(c.value) && c.value != '.' && c.value != '+' && c.value != '-') return false;
    i += c.bytes;
  }
  return characters >= 2 && (slashes.empty() || slashes == "/" || slashes == "//");
}

void append_attribute(const char* name, const MarkedText& value, Budget& budget, MarkedText& out) {
  if (value.empty()) return;
  out.append(fmt::format(" {}=\"", name), true);
  out.append(escape_html(value, budget));
  out.append("\"", true);
}

/// Its words in order and once each, with those that are always there.
MarkedText relations(const MarkedText* rel, bool nofollow, Budget& budget) {
  std::set<std::string> names = {"noopener"};
  std::vector<MarkedText> all = {MarkedText("noopener", true)};
  if (nofollow && names.insert("nofollow").second) all.emplace_back("nofollow", true);
  if (rel != nullptr)
    for (MarkedText& name : split(*rel, nullptr, -1, false, budget))
      if (names.insert(name.bytes()).second) all.push_back(std::move(name));
  std::ranges::sort(all, {}, [](const MarkedText& name) -> const std::string& { return name.bytes(); });
  return join(MarkedText(" ", true), all, budget);
}

}  // namespace

Value urlize(Runtime& runtime, const Value& in, const Arguments& args) {
  const Bound bound("urlize", args, {"trim_url_limit", "nofollow", "target", "rel", "extra_schemes"});
  Budget& budget = runtime.budget;
  LinkOptions options;
  if (bound[0] != nullptr && !bound[0]->is_none()) options.limit = bound.integer(0, 0);
  append_attribute("rel", relations(bound.text(3), bound.flag(1, false), budget), budget, options.attributes);
  if (bound.text(2) != nullptr) append_attribute("target", *bound.text(2), budget, options.attributes);
  if (bound[4] != nullptr && !bound[4]->is_none()) {
    const SequencePtr schemes = iterate(*bound[4], budget);
    for (const Value& scheme : schemes->items) {
      if (!scheme.is_text()) fail_type(fmt::format("expected string or bytes-like object, got '{}'", scheme.type_name()));
      if (!is_scheme(scheme.str()))
        fail("FilterArgumentError", fmt::format("{} is not a valid URI scheme prefix.", repr(scheme, budget).bytes()));
      options.schemes.push_back(scheme.text());
    }
  }
  const MarkedText text = escape_html(to_text(in, budget), budget);
  const std::string& s = text.bytes();
  MarkedText out;
  for (size_t at = 0; at < s.size();) {
    size_t end = at;
    const auto space_at = [&](size_t i) { return is_space(code_point_at(s, i).value); };
    if (space_at(at)) {
      out.append(text, at, code_point_at(s, at).bytes);
      at += code_point_at(s, at).bytes;
      continue;
    }
    while (end < s.size() && !space_at(end)) end += code_point_at(s, end).bytes;
    budget.read((end - at) * (1 + options.schemes.size()));
    const auto [first, last] = address_range(std::string_view(s).substr(at, end - at));
    out.append(text, at, first);
    const MarkedText middle = linked(text.slice(at + first, last - first), options);
    budget.allocate(middle.size());
    out.append(middle);
    out.append(text, at + last, end - at - last);
    at = end;
  }
  return out;
}

}  // namespace sluice::jinja
