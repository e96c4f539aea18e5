#include "text/tokenizer/decoders/decoder.h"

#include "text/tokenizer/parts_catalog.h"
#include "text/tokenizer/utf8.h"

namespace sluice {
namespace {

constexpr PartKind<TokenDecoder> kDecoderKinds[] = {
    {"BPEDecoder", parse_suffix_decoder}, {"ByteFallback", parse_byte_fallback_decoder},
    {"ByteLevel", parse_byte_level_decoder}, {"CTC", parse_ctc_decoder},
    {"Fuse", parse_fuse_decoder},         {"Metaspace", parse_metaspace_decoder},
    {"Replace", parse_replace_decoder},   {"Strip", parse_strip_decoder},
    {"WordPiece", parse_word_piece_decoder},
};

}  // namespace

std::string TokenDecoder::text_of(std::string_view spelling, TokenPlace place) const {
  std::string text(spelling);
  for (size_t i = 0; i < steps_.size(); ++i) {
    if (byte_fallback && i == byte_fallback_at && spelled_byte(text)) break;
    steps_[i](text, place);
  }
  if (const auto byte = byte_fallback ? spelled_byte(text) : std::nullopt) text.assign(1, static_cast<char>(*byte));
  return text;
}

void TokenDecoder::decode(std::string_view spelling, TokenId id, std::string& bytes, DecodeRules& out) const {
  bytes = text_of(spelling, {});
  if (!place_matters) return;
  if (std::string first = text_of(spelling, {.first = true}); first != bytes) out.first[id] = std::move(first);
  const std::string last = text_of(spelling, {.last = true});
  if (last.size() < bytes.size() && bytes.starts_with(last)) out.tail[id] = bytes.size() - last.size();
}

Status needs_tokens(const TokenDecoder& decoder) {
  if (decoder.fused) return unsupported("stands after Fuse or ByteLevel, where there is one text and no tokens");
  return {};
}

Result<TokenDecoder> parse_decoder(const nlohmann::json& description) {
  TokenDecoder out;
  SLUICE_TRY_STATUS(parse_part<TokenDecoder>(description, "decoder", "decoders", kDecoderKinds, out));
  if (description.is_null()) {
    out.place_matters = true;
    out.add([](std::string& text, TokenPlace place) {
      if (!place.first) text.insert(0, 1, ' ');
    });
  }
  return out;
}

}  // namespace sluice
