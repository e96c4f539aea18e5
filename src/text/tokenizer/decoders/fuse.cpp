// Fuse: what follows sees one text.

#include "text/tokenizer/decoders/decoder.h"

namespace sluice {

Status parse_fuse_decoder(const nlohmann::json&, TokenDecoder& out) {
  out.fused = true;
  return {};
}

}  // namespace sluice
