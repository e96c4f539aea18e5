// "llama": sentencepiece's BPE. Any two neighbours merge whose text is a piece, the highest score first.

#include "text/tokenizer/formats/gguf_model.h"
#include "text/tokenizer/models/bpe.h"

namespace sluice {

Status build_gguf_llama(const GgufSource& source, TokenizerParts& parts) {
  const GgufVocab& vocab = source.vocab;
  SLUICE_TRY_STATUS(check_scores(vocab));
  BpeSpec spec;
  spec.unit = BpeSpec::Unit::character;
  spec.internal_from = static_cast<TokenId>(parts.tokens.size());
  spec.unknown = vocab.unk;
  spec.fuse_unknown = true;
  spec.forbidden = control_ids(parts.added);
  std::vector<std::pair<std::string, float>> scored;
  bool crosses = false;
  for (size_t id = 0; id < vocab.tokens.size(); ++id) {
    const std::string text = gguf_text(vocab, id);
    const GgufTokenType type = gguf_token_type(vocab, id);
    std::string& bytes = parts.tokens[id].bytes;
    bytes = text;
    if (type == GgufTokenType::byte) {
      SLUICE_TRY(const uint8_t byte, gguf_byte(vocab, id));
      spec.byte_fallback[byte] = static_cast<TokenId>(id);
      bytes.assign(1, static_cast<char>(byte));
    } else if (type == GgufTokenType::normal || type == GgufTokenType::unused) {
      replace_text(kMetaspace, " ")(bytes, false);
      if (text.empty() || !spec.pieces.add(text, static_cast<TokenId>(id))) continue;
      if (type == GgufTokenType::unused) spec.unused.insert(static_cast<TokenId>(id));
      crosses |= crosses_words(text);
      scored.emplace_back(text, vocab.scores[id]);
    }  // others are found as added tokens
  }
  add_scored_merges(spec, scored);
  if (!crosses && spec.pieces.find(kMetaspace)) parts.pre_tokenizer.add(cut_before(kMetaspace));
  parts.model = std::make_unique<BpeModel>(std::move(spec));
  return add_sentencepiece_normalizer(source, parts);
}

}  // namespace sluice
