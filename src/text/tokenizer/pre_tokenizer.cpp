#include "text/tokenizer/pre_tokenizer.h"

#include "base/log.h"
#include "text/tokenizer/json_fields.h"
#include "text/tokenizer/pre_patterns.h"
#include "text/tokenizer/utf8.h"

namespace sluice {
namespace {

using nlohmann::json;
constexpr int kMaxNesting = 8;

/// Calls f(piece) for every piece of `pieces`.
template <class F>
void for_each_piece(const Pieces& pieces, F&& f) {
  size_t begin = 0;
  for (const size_t end : pieces.ends) {
    f(std::string_view(pieces.text).substr(begin, end - begin), begin);
    begin = end;
  }
}

struct Span {
  size_t begin, end;
  bool match;
};

/// Matches and the gaps between them, in order, covering the piece; empty ones left out.
void spans_of(const Regex& regex, std::string_view piece, bool invert, std::vector<Span>& spans) {
  spans.clear();
  size_t at = 0, search = 0;
  while (search < piece.size()) {
    Regex::Match match;
    const Regex::Outcome outcome = regex.find(piece, search, match);
    if (outcome == Regex::Outcome::gave_up)
      log_warn("tokenizer: a pre-tokenizer pattern took too many steps; {} bytes of text stay uncut",
               piece.size() - at);
    if (outcome != Regex::Outcome::match) break;
    if (match.begin == match.end) {  // cuts nothing out: look further, past one character
      search = match.end;
      if (search < piece.size()) search += utf8_length(static_cast<unsigned char>(piece[search]));
      continue;
    }
    if (match.begin > at) spans.push_back({at, match.begin, invert});
    spans.push_back({match.begin, match.end, !invert});
    at = search = match.end;
  }
  if (at < piece.size()) spans.push_back({at, piece.size(), invert});
}

/// Appends the cuts that `behavior` makes of the spans; offsets are relative to the piece.
void cut(const std::vector<Span>& spans, SplitBehavior behavior, std::string_view piece, Pieces& out) {
  const size_t base = out.text.size();
  if (behavior == SplitBehavior::removed) {
    for (const Span& span : spans) {
      if (span.match) continue;
      out.text.append(piece.substr(span.begin, span.end - span.begin));
      out.ends.push_back(out.text.size());
    }
    return;
  }
  out.text.append(piece);
  for (size_t i = 0; i < spans.size(); ++i) {
    const bool last = i + 1 == spans.size();
    const bool joins_next =
        !last && ((behavior == SplitBehavior::merged_with_previous && !spans[i].match && spans[i + 1].match) ||
                  (behavior == SplitBehavior::merged_with_next && spans[i].match && !spans[i + 1].match) ||
                  (behavior == SplitBehavior::contiguous && spans[i].match == spans[i + 1].match));
    if (!joins_next) out.ends.push_back(base + spans[i].end);
  }
}

PreTokenizer::Step add_prefix_space() {
  return [](Pieces& pieces, bool) {
    Pieces out;
    for_each_piece(pieces, [&](std::string_view piece, size_t) {
      if (!is_white_space(decode_utf8(piece, 0))) out.text += ' ';
      out.text += piece;
      out.ends.push_back(out.text.size());
    });
    pieces = std::move(out);
  };
}

enum class PrependScheme { never, first, always };

PreTokenizer::Step metaspace(std::string replacement, PrependScheme scheme, bool split) {
  return [replacement = std::move(replacement), scheme, split](Pieces& pieces, bool at_start) {
    Pieces out;
    for_each_piece(pieces, [&](std::string_view piece, size_t begin) {
      const bool wanted = scheme == PrependScheme::always || (scheme == PrependScheme::first && at_start && begin == 0);
      const bool has_one = piece.starts_with(' ') || piece.starts_with(replacement);
      std::string text = wanted && !has_one ? replacement : std::string();
      for (const char c : piece) c == ' ' ? void(text += replacement) : text.push_back(c);
      const size_t base = out.text.size();
      out.text += text;
      if (split) {  // a new piece begins at every replacement
        for (size_t hit = text.find(replacement, 1); hit != std::string::npos; hit = text.find(replacement, hit + 1))
          out.ends.push_back(base + hit);
      }
      out.ends.push_back(out.text.size());
    });
    pieces = std::move(out);
  };
}

Result<SplitBehavior> parse_behavior(const json& description) {
  SLUICE_TRY(const std::string name, string_field(description, "behavior"));
  if (name == "Isolated") return SplitBehavior::isolated;
  if (name == "Removed") return SplitBehavior::removed;
  if (name == "MergedWithPrevious") return SplitBehavior::merged_with_previous;
  if (name == "MergedWithNext") return SplitBehavior::merged_with_next;
  if (name == "Contiguous") return SplitBehavior::contiguous;
  return unsupported(fmt::format("split behavior '{}'", name));
}

std::string escape_pattern(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (std::string_view("\\^$.|?*+()[]{}-#/").find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

Status parse_split(const json& description, PreTokenizer& out) {
  const json* pattern = find_field(description, "pattern");
  std::string source;
  if (pattern != nullptr && find_field(*pattern, "Regex") != nullptr) {
    SLUICE_TRY(source, string_field(*pattern, "Regex"));
  } else if (pattern != nullptr && find_field(*pattern, "String") != nullptr) {
    SLUICE_TRY(const std::string text, string_field(*pattern, "String"));
    source = escape_pattern(text);
  } else {
    return corrupt_data("pre_tokenizer Split: 'pattern' has neither Regex nor String");
  }
  SLUICE_TRY(const SplitBehavior behavior, parse_behavior(description));
  SLUICE_TRY(const bool invert, bool_field(description, "invert", false));
  SLUICE_TRY(Regex regex, Regex::compile(source));
  out.add(split_on(std::move(regex), behavior, invert));
  out.drops_text |= behavior == SplitBehavior::removed;
  return {};
}

Status parse_metaspace(const json& description, PreTokenizer& out) {
  SLUICE_TRY(std::string replacement, string_field(description, "replacement"));
  if (replacement.empty()) return corrupt_data("pre_tokenizer Metaspace: 'replacement' is empty");
  PrependScheme scheme = PrependScheme::always;
  if (find_field(description, "prepend_scheme") != nullptr) {
    SLUICE_TRY(const std::string name, string_field(description, "prepend_scheme"));
    if (name == "first")
      scheme = PrependScheme::first;
    else if (name == "never")
      scheme = PrependScheme::never;
    else if (name != "always")
      return unsupported(fmt::format("Metaspace prepend_scheme '{}'", name));
  } else {
    SLUICE_TRY(const bool prefix, bool_field(description, "add_prefix_space", true));
    if (!prefix) scheme = PrependScheme::never;
  }
  SLUICE_TRY(const bool split, bool_field(description, "split", true));
  out.add(metaspace(std::move(replacement), scheme, split));
  return {};
}

Status parse_into(const json& description, int depth, PreTokenizer& out) {
  if (description.is_null()) return {};
  if (depth > kMaxNesting) return corrupt_data("pre_tokenizer: nested too deeply");
  SLUICE_TRY(const std::string type, type_of(description, "pre_tokenizer"));
  if (out.byte_level) return unsupported(fmt::format("pre_tokenizer '{}' after ByteLevel", type));
  const auto isolate = [&](std::string_view pattern, SplitBehavior behavior) -> Status {
    SLUICE_TRY(Regex regex, Regex::compile(pattern));
    out.add(split_on(std::move(regex), behavior));
    out.drops_text |= behavior == SplitBehavior::removed;
    return {};
  };
  if (type == "Sequence") {
    const json* list = find_field(description, "pretokenizers");
    if (list == nullptr || !list->is_array())
      return corrupt_data("pre_tokenizer Sequence: 'pretokenizers' is not a list");
    for (const json& entry : *list) SLUICE_TRY_STATUS(parse_into(entry, depth + 1, out));
    return {};
  }
  if (type == "ByteLevel") {
    SLUICE_TRY(const bool prefix, bool_field(description, "add_prefix_space", true));
    SLUICE_TRY(const bool use_regex, bool_field(description, "use_regex", true));
    if (prefix) out.add(add_prefix_space());
    if (use_regex) SLUICE_TRY_STATUS(isolate(kGpt2Pattern, SplitBehavior::isolated));
    out.byte_level = true;
    return {};
  }
  if (type == "Split") return parse_split(description, out);
  if (type == "Metaspace") return parse_metaspace(description, out);
  if (type == "Digits") {
    SLUICE_TRY(const bool individual, bool_field(description, "individual_digits", false));
    return isolate(individual ? R"(\p{N})" : R"(\p{N}+)", SplitBehavior::isolated);
  }
  if (type == "Punctuation") {
    SplitBehavior behavior = SplitBehavior::isolated;
    if (find_field(description, "behavior") != nullptr) {
      SLUICE_TRY(behavior, parse_behavior(description));
    }
    return isolate(R"([!-\/:-@\[-`\{-~\p{P}])", behavior);
  }
  if (type == "Whitespace") {
    SLUICE_TRY(Regex regex, Regex::compile(R"([\p{L}\p{M}\p{N}\p{Pc}]+|[^\p{L}\p{M}\p{N}\p{Pc}\s]+)"));
    out.add(split_on(std::move(regex), SplitBehavior::removed, true));
    out.drops_text = true;
    return {};
  }
  if (type == "WhitespaceSplit") return isolate(R"(\s)", SplitBehavior::removed);
  return unsupported(
      fmt::format("pre_tokenizer of type '{}' (known: Sequence, ByteLevel, Split, Metaspace, Digits, "
                  "Punctuation, Whitespace, WhitespaceSplit)",
                  type));
}

}  // namespace

PreTokenizer::Step split_on(Regex regex, SplitBehavior behavior, bool invert) {
  return [regex = std::move(regex), behavior, invert](Pieces& pieces, bool) {
    Pieces out;
    out.text.reserve(pieces.text.size());
    std::vector<Span> spans;
    for_each_piece(pieces, [&](std::string_view piece, size_t) {
      spans_of(regex, piece, invert, spans);
      cut(spans, behavior, piece, out);
    });
    pieces = std::move(out);
  };
}

Pieces PreTokenizer::apply(std::string text, bool at_start) const {
  Pieces pieces{std::move(text), {}};
  if (!pieces.text.empty()) pieces.ends.push_back(pieces.text.size());
  for (const Step& step : steps_) step(pieces, at_start);
  return pieces;
}

Result<PreTokenizer> byte_level_pre_tokenizer(std::span<const std::string_view> patterns) {
  PreTokenizer out;
  for (const std::string_view pattern : patterns) {
    SLUICE_TRY(Regex regex, Regex::compile(pattern));
    out.add(split_on(std::move(regex), SplitBehavior::isolated));
  }
  out.byte_level = true;
  return out;
}

Result<PreTokenizer> parse_pre_tokenizer(const json& description) {
  PreTokenizer out;
  SLUICE_TRY_STATUS(parse_into(description, 0, out));
  return out;
}

}  // namespace sluice
