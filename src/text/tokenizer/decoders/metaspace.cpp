// Metaspace: the character that stands for a space, which the first token does not show where one was put before it.

#include "text/tokenizer/decoders/decoder.h"
#include "text/tokenizer/normalizers/normalizer.h"
#include "text/tokenizer/parts_catalog.h"

namespace sluice {

Status parse_metaspace_decoder(const nlohmann::json& description, TokenDecoder& out) {
  SLUICE_TRY_STATUS(needs_tokens(out));
  SLUICE_TRY(const std::string replacement, character_field(description, "replacement"));
  SLUICE_TRY(bool prepended, bool_field(description, "add_prefix_space", true));
  if (find_field(description, "prepend_scheme") != nullptr) {
    SLUICE_TRY(const std::string scheme, string_field(description, "prepend_scheme"));
    prepended = scheme != "never";
  }
  const auto to_space = replace_text(replacement, " "), to_nothing = replace_text(replacement, "");
  out.place_matters = true;
  out.add([=](std::string& text, TokenPlace place) {
    (place.first && prepended ? to_nothing : to_space)(text, false);
  });
  return {};
}

}  // namespace sluice
