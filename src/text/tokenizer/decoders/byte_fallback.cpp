// ByteFallback: the tokens <0x00> to <0xFF> are bytes.

#include "text/tokenizer/decoders/decoder.h"

namespace sluice {

Status parse_byte_fallback_decoder(const nlohmann::json&, TokenDecoder& out) {
  SLUICE_TRY_STATUS(needs_tokens(out));
  out.byte_fallback = true;
  out.byte_fallback_at = out.steps();
  return {};
}

}  // namespace sluice
