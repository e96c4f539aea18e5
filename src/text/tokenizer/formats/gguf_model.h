#pragma once
// The kinds of vocabulary that GGUF has (tokenizer.ggml.model).

#include <span>
#include <string_view>

#include "base/gguf_vocab.h"
#include "base/result.h"
#include "text/tokenizer/models/bpe.h"
#include "text/tokenizer/tokenizer_config.h"
#include "text/tokenizer/tokenizer_parts.h"

namespace sluice {

/// What is built from: a vocabulary, and what only a directory's files say.
struct GgufSource {
  const GgufVocab& vocab;
  const TokenizerConfig& config;
  bool from_sentencepiece = false;  // the file of a sentencepiece model: what its library does, to the bit
};

/// Whether a kind puts tokens around a text, and the separator between two (behind what ends the first), where the file does not say.
struct AroundText {
  bool bos = false, eos = false, sep = false;
  bool one_end = false;  // the separator ends texts too, under whichever name the file has it (WordPiece)
};

struct GgufModelKind {
  std::string_view name;
  Result<AroundText> (*around)(const GgufVocab& vocab);
  /// Sets the model, what stands before it, and the bytes of the tokens. The added tokens are known.
  Status (*build)(const GgufSource& source, TokenizerParts& parts);
  bool user_defined_after_normalizing = false;  // those are looked for in normal text, whose spaces are spelled out
};

std::span<const GgufModelKind> gguf_model_kinds();

/// What a vocabulary puts around a text, and between two: as the file says, or else as its kind does.
struct TokensAround {
  std::vector<TokenId> prefix, suffix;
  PairForm pair;  // not said: only what ends the first text
};
Result<TokensAround> tokens_around(const GgufVocab& vocab);

GgufTokenType gguf_token_type(const GgufVocab& vocab, size_t id);
/// The texts of all tokens, invalid UTF-8 replaced.
std::string gguf_text(const GgufVocab& vocab, size_t id);
/// The unknown token: the one that is named, or else typed so.
std::optional<TokenId> gguf_unknown(const GgufVocab& vocab);
/// The byte of a token of type byte; the error is for another spelling.
Result<uint8_t> gguf_byte(const GgufVocab& vocab, size_t id);
/// The error is for a missing score, or one that is not a number.
Status check_scores(const GgufVocab& vocab);
/// The character map, and sentencepiece's way with spaces: extra ones dropped, one put before the text, all spelled U+2581.
Status add_sentencepiece_normalizer(const GgufSource& source, TokenizerParts& parts);

/// BPE over characters with listed merges; sets the bytes of the tokens.
Result<BpeSpec> gguf_character_bpe(const GgufVocab& vocab, TokenizerParts& parts);

/// The parts of a tokenizer, finished.
Status build_gguf_parts(const GgufSource& source, TokenizerParts& parts);

// One file each.
Status build_gguf_bert(const GgufSource& source, TokenizerParts& parts);
Status build_gguf_gemma4(const GgufSource& source, TokenizerParts& parts);
Status build_gguf_gpt2(const GgufSource& source, TokenizerParts& parts);
Result<AroundText> around_gpt2(const GgufVocab& vocab);
Status build_gguf_llama(const GgufSource& source, TokenizerParts& parts);
Status build_gguf_plamo2(const GgufSource& source, TokenizerParts& parts);
Status build_gguf_rwkv(const GgufSource& source, TokenizerParts& parts);
Status build_gguf_t5(const GgufSource& source, TokenizerParts& parts);
Status build_gguf_whitespace(const GgufSource& source, TokenizerParts& parts);

/// How texts are cleaned for "bert", and a token of it as BERT spells it.
BertCleaning gguf_bert_cleaning(const GgufVocab& vocab);
std::string word_piece_spelling(std::string_view gguf, std::string_view prefix);

/// A token of "rwkv" as its bytes, and back: bytes that are not printable ASCII are escaped as Python writes them.
Result<std::string> unescape_rwkv(std::string_view spelling);
std::string escape_rwkv(std::string_view bytes);

}  // namespace sluice
