// BPEDecoder: the suffix of tokens that end a word becomes a space, except behind the last word.

#include "text/tokenizer/decoders/decoder.h"
#include "text/tokenizer/normalizers/normalizer.h"
#include "text/tokenizer/parts_catalog.h"

namespace sluice {

Status parse_suffix_decoder(const nlohmann::json& description, TokenDecoder& out) {
  SLUICE_TRY_STATUS(needs_tokens(out));
  SLUICE_TRY(const std::string suffix, string_field(description, "suffix"));
  const auto to_space = replace_text(suffix, " "), to_nothing = replace_text(suffix, "");
  out.place_matters = true;
  out.add([=](std::string& text, TokenPlace place) { (place.last ? to_nothing : to_space)(text, false); });
  return {};
}

}  // namespace sluice
