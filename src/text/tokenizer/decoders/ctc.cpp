// CTC (Graves et al. 2006): equal neighbours are one token, the pad token between them is none.

#include "text/tokenizer/decoders/decoder.h"
#include "text/tokenizer/normalizers/normalizer.h"
#include "text/tokenizer/parts_catalog.h"

namespace sluice {

Status parse_ctc_decoder(const nlohmann::json& description, TokenDecoder& out) {
  SLUICE_TRY_STATUS(needs_tokens(out));
  SLUICE_TRY(const std::string pad, string_field(description, "pad_token"));
  SLUICE_TRY(const std::string delimiter, string_field(description, "word_delimiter_token"));
  SLUICE_TRY(const bool cleanup, bool_field(description, "cleanup", true));
  const auto drop_pad = replace_text(pad, ""), to_space = replace_text(delimiter, " ");
  out.rules.drops_repeats = true;
  out.add([=](std::string& text, TokenPlace) {
    drop_pad(text, false);
    if (!cleanup) return;
    clean_up_spaces(text);
    to_space(text, false);
  });
  return {};
}

}  // namespace sluice
