// "plamo2": PLaMo 2's scored pieces. Text is taken as it stands: no space before it, none spelled otherwise. llama.cpp drops a
// byte order mark at the start of a text; the authors' code drops only the one that its own conversion to UTF-32 adds, as here.

#include "text/tokenizer/formats/gguf_model.h"
#include "text/tokenizer/models/plamo.h"

namespace sluice {

Status build_gguf_plamo2(const GgufSource& source, TokenizerParts& parts) {
  const GgufVocab& vocab = source.vocab;
  SLUICE_TRY_STATUS(check_scores(vocab));
  PlamoSpec spec;
  spec.bytes.fill(-1);
  const auto forbidden = control_ids(parts.added);
  for (size_t id = 0; id < vocab.tokens.size(); ++id) {
    std::string text = gguf_text(vocab, id);
    const GgufTokenType type = gguf_token_type(vocab, id);
    std::string& bytes = parts.tokens[id].bytes;
    bytes = text;
    if (type == GgufTokenType::byte) {
      SLUICE_TRY(const uint8_t byte, gguf_byte(vocab, id));
      spec.bytes[byte] = static_cast<TokenId>(id);
      bytes.assign(1, static_cast<char>(byte));
    } else if (type != GgufTokenType::unused && forbidden.count(static_cast<TokenId>(id)) == 0) {
      spec.pieces.push_back({std::move(text), vocab.scores[id], static_cast<TokenId>(id)});
    }
  }
  for (size_t byte = 0; byte < spec.bytes.size(); ++byte)
    if (spec.bytes[byte] < 0)
      return corrupt_data(fmt::format("no token <0x{:02X}>, expected tokens of type byte from <0x00> to <0xFF>", byte));
  parts.model = std::make_unique<PlamoModel>(std::move(spec));
  return {};
}

}  // namespace sluice
