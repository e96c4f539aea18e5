// Nmt: drops control characters and makes spaces of what only looks like space, as sentencepiece's rule nmt_nfkc does.

#include "text/tokenizer/normalizers/normalizer.h"
#include "text/tokenizer/utf8.h"

namespace sluice {
namespace {

bool is_dropped(uint32_t c) {
  return (c >= 0x01 && c <= 0x08) || c == 0x0b || (c >= 0x0e && c <= 0x1f) || c == 0x7f || c == 0x8f || c == 0x9f;
}

bool becomes_space(uint32_t c) {
  return c == 0x09 || c == 0x0a || c == 0x0c || c == 0x0d || c == 0x1680 || (c >= 0x200b && c <= 0x200f) ||
         c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xfeff || c == 0xfffd;
}

}  // namespace

Status parse_nmt(const nlohmann::json&, Normalizer& out) {
  out.add(
      [](std::string& text, bool) {
        std::string kept;
        kept.reserve(text.size());
        for (size_t at = 0, n; at < text.size(); at += n) {
          n = utf8_length(static_cast<unsigned char>(text[at]));
          const uint32_t c = decode_utf8(text, at);
          if (is_dropped(c)) continue;
          becomes_space(c) ? kept.push_back(' ') : void(kept.append(text, at, n));
        }
        text = std::move(kept);
      },
      kDropsText);
  return {};
}

}  // namespace sluice
