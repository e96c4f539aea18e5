// WordPiece: tokens that continue a word lose their prefix, the others get a space before them.

#include "text/tokenizer/decoders/decoder.h"
#include "text/tokenizer/normalizers/normalizer.h"
#include "text/tokenizer/parts_catalog.h"

namespace sluice {

void clean_up_spaces(std::string& text) {
  static const std::pair<const char*, const char*> kChanges[] = {
      {" .", "."},     {" ?", "?"},           {" !", "!"},   {" ,", ","},     {" ' ", "'"},    {" n't", "n't"},
      {" 'm", "'m"},   {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  if (text.find(' ') == std::string::npos) return;
  for (const auto& [from, to] : kChanges) replace_text(from, to)(text, false);
}

Status parse_word_piece_decoder(const nlohmann::json& description, Decoder& out) {
  SLUICE_TRY_STATUS(needs_tokens(out));
  SLUICE_TRY(const std::string prefix, string_field(description, "prefix"));
  SLUICE_TRY(const bool cleanup, bool_field(description, "cleanup", true));
  out.place_matters = true;
  out.add([=](std::string& text, TokenPlace place) {
    if (!place.first) {
      if (text.starts_with(prefix))
        text.erase(0, prefix.size());
      else
        text.insert(0, 1, ' ');
    }
    if (cleanup) clean_up_spaces(text);
  });
  return {};
}

}  // namespace sluice
