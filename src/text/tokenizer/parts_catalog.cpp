#include "text/tokenizer/parts_catalog.h"

#include "text/tokenizer/utf8.h"

namespace sluice {

using nlohmann::json;

Result<PatternField> pattern_field(const json& object) {
  const json* pattern = find_field(object, "pattern");
  for (const bool is_regex : {true, false}) {
    const char* key = is_regex ? "Regex" : "String";
    if (pattern == nullptr || find_field(*pattern, key) == nullptr) continue;
    SLUICE_TRY(std::string text, string_field(*pattern, key));
    return PatternField{std::move(text), is_regex};
  }
  return corrupt_data("field 'pattern' has neither Regex nor String");
}

Result<std::string> character_field(const json& object, const char* key) {
  SLUICE_TRY(std::string text, string_field(object, key));
  if (text.empty() || utf8_length(static_cast<unsigned char>(text[0])) != text.size())
    return corrupt_data(fmt::format("field '{}' is '{}', expected one character", key, text));
  return text;
}

}  // namespace sluice
