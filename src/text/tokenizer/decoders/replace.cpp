// Replace: a text or a pattern inside each token.

#include "text/tokenizer/decoders/decoder.h"
#include "text/tokenizer/normalizers/normalizer.h"
#include "text/tokenizer/parts_catalog.h"
#include "text/tokenizer/utf8.h"

namespace sluice {

Status parse_replace_decoder(const nlohmann::json& description, TokenDecoder& out) {
  SLUICE_TRY(const PatternField pattern, pattern_field(description));
  SLUICE_TRY(std::string to, string_field(description, "content"));
  const bool one_character =
      !pattern.is_regex && !pattern.text.empty() &&
      utf8_length(static_cast<unsigned char>(pattern.text[0])) == pattern.text.size();
  if (!one_character) SLUICE_TRY_STATUS(needs_tokens(out));  // a match might span tokens
  Normalizer::Step replace;
  if (pattern.is_regex) {
    SLUICE_TRY(Regex regex, Regex::compile(pattern.text));
    replace = replace_pattern(std::move(regex), std::move(to));
  } else {
    replace = replace_text(pattern.text, std::move(to));
  }
  out.add([replace = std::move(replace)](std::string& text, TokenPlace) { replace(text, false); });
  return {};
}

}  // namespace sluice
