// Replace: a text or a pattern everywhere.

#include <algorithm>

#include "text/tokenizer/normalizers/normalizer.h"
#include "text/tokenizer/parts_catalog.h"
#include "text/tokenizer/utf8.h"

namespace sluice {

Normalizer::Step replace_text(std::string from, std::string to) {
  return [from = std::move(from), to = std::move(to)](std::string& text, bool) {
    size_t hit = from.empty() ? std::string::npos : text.find(from);
    if (hit == std::string::npos) return;
    std::string out;
    out.reserve(text.size() + text.size() / 2);
    size_t at = 0;
    for (; hit != std::string::npos; hit = text.find(from, at)) {
      out.append(text, at, hit - at).append(to);
      at = hit + from.size();
    }
    out.append(text, at, std::string::npos);
    text = std::move(out);
  };
}

Normalizer::Step replace_pattern(Regex regex, std::string to) {
  return [regex = std::move(regex), to = std::move(to)](std::string& text, bool) {
    if (text.empty()) return;
    std::string out;
    size_t at = 0, search = 0;
    bool after_match = false;
    Regex::Match match;
    while (search <= text.size() && regex.find(text, search, match) == Regex::Outcome::match) {
      if (match.begin == match.end && after_match && match.begin == at) {  // right behind another, an empty match is none
        search += search < text.size() ? utf8_length(static_cast<unsigned char>(text[search])) : 1;
        continue;
      }
      out.append(text, at, match.begin - at).append(to);
      at = search = match.end;
      after_match = true;
    }
    out.append(text, at, std::string::npos);
    text = std::move(out);
  };
}

Status parse_replace(const nlohmann::json& description, Normalizer& out) {
  SLUICE_TRY(PatternField pattern, pattern_field(description));
  SLUICE_TRY(std::string to, string_field(description, "content"));
  if (pattern.is_regex) {
    SLUICE_TRY(Regex regex, Regex::compile(pattern.text));
    out.add(replace_pattern(std::move(regex), std::move(to)), kDropsText);
  } else {
    const double shrinks = static_cast<double>(pattern.text.size()) / static_cast<double>(to.size());
    out.add(replace_text(std::move(pattern.text), std::move(to)), std::max(1.0, shrinks));
  }
  return {};
}

}  // namespace sluice
