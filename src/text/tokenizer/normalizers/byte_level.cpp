// ByteLevel: every byte becomes the character of the byte-level alphabet that stands for it.

#include "text/tokenizer/normalizers/normalizer.h"
#include "text/tokenizer/utf8.h"

namespace sluice {

Status parse_byte_level_normalizer(const nlohmann::json&, Normalizer& out) {
  out.add([](std::string& text, bool) { text = bytes_to_byte_level(text); });
  return {};
}

}  // namespace sluice
