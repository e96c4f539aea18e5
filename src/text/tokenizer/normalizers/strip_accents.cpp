// StripAccents: drops marks. Letters that hold their accent keep it, unless a decomposing normal form went before.

#include "text/tokenizer/normalizers/normalizer.h"
#include "text/tokenizer/unicode_classes.h"
#include "text/tokenizer/utf8.h"

namespace sluice {

Status parse_strip_accents(const nlohmann::json&, Normalizer& out) {
  out.add(
      [](std::string& text, bool) {
        std::string kept;
        kept.reserve(text.size());
        for (size_t at = 0, n; at < text.size(); at += n) {
          n = utf8_length(static_cast<unsigned char>(text[at]));
          if (!is_combining_mark(decode_utf8(text, at))) kept.append(text, at, n);
        }
        text = std::move(kept);
      },
      kDropsText);
  return {};
}

}  // namespace sluice
