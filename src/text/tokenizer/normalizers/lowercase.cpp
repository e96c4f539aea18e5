// Lowercase: character by character, without regard to its neighbours.

#include <utf8proc.h>

#include "text/tokenizer/normalizers/normalizer.h"
#include "text/tokenizer/utf8.h"

namespace sluice {

void append_lowercase(std::string& out, uint32_t c) {
  if (c == 0x130) {  // the one character whose lower case is two
    out += "i\u0307";
    return;
  }
  append_utf8(out, static_cast<uint32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))));
}

Normalizer::Step lower_case() {
  return [](std::string& text, bool) {
    std::string lower;
    lower.reserve(text.size());
    for (size_t at = 0; at < text.size(); at += utf8_length(static_cast<unsigned char>(text[at])))
      append_lowercase(lower, decode_utf8(text, at));
    text = std::move(lower);
  };
}

Status parse_lowercase(const nlohmann::json&, Normalizer& out) {
  out.add(lower_case(), kNormalFormShrinks);
  return {};
}

}  // namespace sluice
