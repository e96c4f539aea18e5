// ByteLevel: tokens are spelled in the alphabet that has a printable character for every byte.

#include "text/tokenizer/decoders/decoder.h"
#include "text/tokenizer/utf8.h"

namespace sluice {

Status parse_byte_level_decoder(const nlohmann::json&, TokenDecoder& out) {
  SLUICE_TRY_STATUS(needs_tokens(out));
  out.add([](std::string& text, TokenPlace) {
    std::string bytes;
    if (append_byte_level(text, bytes)) text = std::move(bytes);  // another spelling stands for itself
  });
  out.byte_level = out.fused = true;
  return {};
}

}  // namespace sluice
