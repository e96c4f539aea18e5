// "gemma4", and "gpt2" with a pre-tokenizer of its kind: BPE over characters with listed merges. Spaces are spelled U+2581, and
// what is in no piece is bytes.

#include <algorithm>

#include "text/tokenizer/formats/byte_level_vocab.h"
#include "text/tokenizer/formats/gguf_model.h"
#include "text/tokenizer/utf8.h"

namespace sluice {

Result<BpeSpec> gguf_character_bpe(const GgufVocab& vocab, TokenizerParts& parts) {
  BpeSpec spec;
  spec.unit = BpeSpec::Unit::character;
  spec.unknown = vocab.unk;
  spec.fuse_unknown = true;
  spec.forbidden = control_ids(parts.added);
  for (size_t id = 0; id < vocab.tokens.size(); ++id) {
    const std::string text = gguf_text(vocab, id);
    std::string& bytes = parts.tokens[id].bytes;
    bytes = text;
    const GgufTokenType type = gguf_token_type(vocab, id);
    // Files of "gpt2" have no type for bytes: their spelling says it.
    if (type == GgufTokenType::byte || (type == GgufTokenType::normal && spelled_byte(text))) {
      SLUICE_TRY(const uint8_t byte, gguf_byte(vocab, id));
      spec.byte_fallback[byte] = static_cast<TokenId>(id);
      bytes.assign(1, static_cast<char>(byte));
    }
    spec.pieces.add(text, static_cast<TokenId>(id));
  }
  for (const std::string& line : vocab.merges) {
    SLUICE_TRY(const MergeText merge, split_merge(line, spec.merges.size()));
    SLUICE_TRY_STATUS(add_spelled_merge(spec, merge.first, merge.second, std::string(merge.first).append(merge.second)));
  }
  return spec;
}

Status build_gguf_gemma4(const GgufSource& source, TokenizerParts& parts) {
  const GgufVocab& vocab = source.vocab;
  SLUICE_TRY(BpeSpec spec, gguf_character_bpe(vocab, parts));
  for (size_t id = 0; id < vocab.tokens.size(); ++id) replace_text(kMetaspace, " ")(parts.tokens[id].bytes, false);
  const bool crosses = std::ranges::any_of(vocab.merges, [&](const std::string& line) {
    const auto merge = split_merge(line, 0);  // it has been split before
    return crosses_words(std::string(merge->first).append(merge->second));
  });
  if (!crosses && spec.pieces.find(kMetaspace)) parts.pre_tokenizer.add(cut_before(kMetaspace));
  parts.model = std::make_unique<BpeModel>(std::move(spec));
  if (vocab.add_space_prefix.value_or(false)) parts.normalizer.add(prepend_text(" ", false));
  parts.normalizer.add(replace_text(" ", kMetaspace));
  parts.decoding.strip_first = vocab.add_space_prefix.value_or(false) ? 1 : 0;
  return {};
}

}  // namespace sluice
