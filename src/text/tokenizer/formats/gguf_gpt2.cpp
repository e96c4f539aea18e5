// "gpt2": byte-level BPE with listed merges; tokenizer.ggml.pre names how text is split. Some of its names are of vocabularies
// over characters.

#include <deque>

#include "text/tokenizer/formats/byte_level_vocab.h"
#include "text/tokenizer/formats/gguf_model.h"
#include "text/tokenizer/pre_tokenizers/pre_patterns.h"
#include "text/tokenizer/utf8.h"

namespace sluice {
namespace {

Result<PrePatterns> patterns_of(const GgufVocab& vocab) {
  return find_pre_patterns(vocab.pre.empty() ? "default" : vocab.pre);
}

}  // namespace

Result<AroundText> around_gpt2(const GgufVocab& vocab) {
  SLUICE_TRY(const PrePatterns pre, patterns_of(vocab));
  return AroundText{.bos = pre.add_bos, .sep = pre.add_sep};
}

Status build_gguf_gpt2(const GgufSource& source, TokenizerParts& parts) {
  const GgufVocab& vocab = source.vocab;
  SLUICE_TRY(const PrePatterns pre, patterns_of(vocab));
  if (pre.spelling == PieceSpelling::marked_spaces) return build_gguf_gemma4(source, parts);
  if (pre.spelling == PieceSpelling::words) return build_gguf_whitespace(source, parts);
  std::deque<std::string> repaired;  // nearly all texts are valid, and are not copied
  const auto valid = [&](const std::string& text) -> std::string_view {
    return is_valid_utf8(text) ? std::string_view(text) : repaired.emplace_back(to_valid_utf8(text));
  };
  SpelledTokens spelled;
  spelled.reserve(vocab.tokens.size());
  for (size_t id = 0; id < vocab.tokens.size(); ++id) {
    const std::string_view text = valid(vocab.tokens[id]);
    if (gguf_token_type(vocab, id) == GgufTokenType::normal)
      spelled.emplace_back(text, static_cast<TokenId>(id));
    else
      parts.tokens[id].bytes = text;
  }
  std::vector<MergeText> merges;
  merges.reserve(vocab.merges.size());
  for (const std::string& line : vocab.merges) {
    SLUICE_TRY(const MergeText merge, split_merge(valid(line), merges.size()));
    merges.push_back(merge);
  }
  SLUICE_TRY_STATUS(set_byte_level_bpe(parts, spelled, merges, pre.ignore_merges, vocab.unk));
  SLUICE_TRY(parts.pre_tokenizer, byte_level_pre_tokenizer(pre.patterns));
  if (pre.nfc) parts.normalizer.add(normal_form(NormalForm::nfc), kNormalFormShrinks);
  return {};
}

}  // namespace sluice
