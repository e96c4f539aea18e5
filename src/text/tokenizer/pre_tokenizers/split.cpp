// Split: at the matches of a text or a pattern.

#include "text/tokenizer/pre_tokenizers/scanners.h"
#include "text/tokenizer/parts_catalog.h"
#include "text/tokenizer/pre_tokenizers/pieces.h"
#include "text/tokenizer/utf8.h"

#include "base/log.h"

namespace sluice {
namespace {

/// An empty match cuts, too, except right behind another match.
void spans_of(const Regex& regex, std::string_view piece, bool invert, std::vector<Span>& spans) {
  size_t at = 0, search = 0;
  bool after_match = false;
  Regex::Match match;
  while (search <= piece.size()) {
    const Regex::Outcome outcome = regex.find(piece, search, match);
    if (outcome == Regex::Outcome::gave_up)
      log_warn("tokenizer: a pre-tokenizer pattern took too many steps; {} bytes of text stay uncut",
               piece.size() - at);
    if (outcome != Regex::Outcome::match) break;
    if (match.begin == match.end && after_match && match.begin == at) {
      search += search < piece.size() ? utf8_length(static_cast<unsigned char>(piece[search])) : 1;
      continue;
    }
    if (match.begin > at) spans.push_back({at, match.begin, invert});
    spans.push_back({match.begin, match.end, !invert});
    at = search = match.end;
    after_match = true;
  }
  if (at < piece.size()) spans.push_back({at, piece.size(), invert});
}

std::string escape_pattern(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (std::string_view("\\^$.|?*+()[]{}-#/").find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

}  // namespace

PreTokenizer::Step split_on(Regex regex, SplitBehavior behavior, bool invert) {
  return [regex = std::move(regex), behavior, invert](Pieces& pieces) {
    cut_pieces(pieces, behavior, [&](std::string_view piece, std::vector<Span>& spans) {
      spans_of(regex, piece, invert, spans);
    });
  };
}

PreTokenizer::Step split_at_characters(bool (*in_class)(uint32_t), SplitBehavior behavior) {
  return [in_class, behavior](Pieces& pieces) {
    cut_pieces(pieces, behavior, [&](std::string_view piece, std::vector<Span>& spans) {
      size_t from = 0;
      for (size_t at = 0, n; at < piece.size(); at += n) {
        n = utf8_length(static_cast<unsigned char>(piece[at]));
        if (!in_class(decode_utf8(piece, at))) continue;
        if (at > from) spans.push_back({from, at, false});
        spans.push_back({at, at + n, true});
        from = at + n;
      }
      if (from < piece.size()) spans.push_back({from, piece.size(), false});
    });
  };
}

Result<PreTokenizer::Step> split_on_pattern(std::string_view pattern, SplitBehavior behavior, bool invert) {
  if (!invert && behavior == SplitBehavior::isolated)
    if (PreTokenizer::Step step = scanner_for(pattern)) return step;
  SLUICE_TRY(Regex regex, Regex::compile(pattern));
  return split_on(std::move(regex), behavior, invert);
}

Result<SplitBehavior> parse_behavior(const nlohmann::json& description) {
  SLUICE_TRY(const std::string name, string_field(description, "behavior"));
  static constexpr std::pair<std::string_view, SplitBehavior> kNames[] = {
      {"Isolated", SplitBehavior::isolated},
      {"Removed", SplitBehavior::removed},
      {"MergedWithPrevious", SplitBehavior::merged_with_previous},
      {"MergedWithNext", SplitBehavior::merged_with_next},
      {"Contiguous", SplitBehavior::contiguous}};
  std::string known;
  for (const auto& [each, behavior] : kNames) {
    if (each == name) return behavior;
    known.append(known.empty() ? "" : ", ").append(each);
  }
  return unsupported(fmt::format("behavior '{}' (known: {})", name, known));
}

Status parse_split(const nlohmann::json& description, PreTokenizer& out) {
  SLUICE_TRY(const PatternField pattern, pattern_field(description));
  SLUICE_TRY(const SplitBehavior behavior, parse_behavior(description));
  SLUICE_TRY(const bool invert, bool_field(description, "invert", false));
  SLUICE_TRY(PreTokenizer::Step step,
             split_on_pattern(pattern.is_regex ? pattern.text : escape_pattern(pattern.text), behavior, invert));
  out.add(std::move(step));
  out.drops_text |= behavior == SplitBehavior::removed;
  return {};
}

}  // namespace sluice
