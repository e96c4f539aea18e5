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

void add_word_piece_step(TokenDecoder& out, std::string prefix, bool cleanup) {
  out.place_matters = true;
  out.add([prefix = std::move(prefix), cleanup](std::string& text, TokenPlace place) {
    if (!place.first) {
      if (text.starts_with(prefix))
        text.erase(0, prefix.size());
      else
        text.insert(0, " ");
    }
    if (cleanup) clean_up_spaces(text);
  });
}

Status parse_word_piece_decoder(const nlohmann::json& description, TokenDecoder& out) {
  SLUICE_TRY_STATUS(needs_tokens(out));
  SLUICE_TRY(const std::string prefix, string_field(description, "prefix"));
  SLUICE_TRY(const bool cleanup, bool_field(description, "cleanup", true));
  add_word_piece_step(out, prefix, cleanup);
  return {};
}

}  // namespace sluice
