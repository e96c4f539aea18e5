// Strip: up to so many of one character at both ends, of each token or, after Fuse, of the text.

#include "text/tokenizer/decoders/decoder.h"
#include "text/tokenizer/parts_catalog.h"

namespace sluice {

Status parse_strip_decoder(const nlohmann::json& description, TokenDecoder& out) {
  SLUICE_TRY(const std::string stripped, character_field(description, "content"));
  SLUICE_TRY(const int64_t first, int_field(description, "start"));
  SLUICE_TRY(const int64_t last, int_field(description, "stop"));
  if (first < 0 || last < 0) return corrupt_data("'start' or 'stop' is negative");
  if (out.fused) {
    if (out.rules.strip_first + out.rules.strip_last > 0) return unsupported("strips a text that was stripped before");
    out.rules.stripped = stripped;
    out.rules.strip_first = static_cast<size_t>(first);
    out.rules.strip_last = static_cast<size_t>(last);
    return {};
  }
  out.add([=](std::string& text, TokenPlace) {
    for (int64_t i = 0; i < first && text.starts_with(stripped); ++i) text.erase(0, stripped.size());
    for (int64_t i = 0; i < last && text.ends_with(stripped); ++i) text.erase(text.size() - stripped.size());
  });
  return {};
}

}  // namespace sluice
