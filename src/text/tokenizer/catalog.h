#pragma once
// The tokenizer formats that a model directory may hold, in order of preference.

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/gguf_vocab.h"
#include "text/tokenizer/tokenizer.h"
#include "text/tokenizer/tokenizer_config.h"

namespace sluice {

struct TokenizerFormat {
  std::string_view name;
  std::string_view looked_for;  // its files, for errors
  bool (*is_in)(const std::string& directory);
  Result<std::unique_ptr<Tokenizer>> (*load)(const std::string& directory, const TokenizerConfig& config);
  /// As GGUF metadata, without special tokens and templates that only the configuration knows.
  Result<GgufVocab> (*as_gguf)(const std::string& directory, const TokenizerConfig& config);
};

std::span<const TokenizerFormat> tokenizer_formats();
/// The first whose files are there; the error lists what was looked for.
Result<const TokenizerFormat*> find_tokenizer_format(const std::string& directory);

// One file each.
Result<std::unique_ptr<Tokenizer>> load_tokenizer_json(const std::string& directory, const TokenizerConfig& config);
Result<std::unique_ptr<Tokenizer>> load_tekken(const std::string& directory, const TokenizerConfig& config);
Result<std::unique_ptr<Tokenizer>> load_tiktoken(const std::string& directory, const TokenizerConfig& config);
Result<std::unique_ptr<Tokenizer>> load_sentencepiece(const std::string& directory, const TokenizerConfig& config);
Result<std::unique_ptr<Tokenizer>> load_vocab_and_merges(const std::string& directory, const TokenizerConfig& config);
Result<std::unique_ptr<Tokenizer>> load_encoder_and_bpe(const std::string& directory, const TokenizerConfig& config);
Result<std::unique_ptr<Tokenizer>> load_rwkv(const std::string& directory, const TokenizerConfig& config);
Result<std::unique_ptr<Tokenizer>> load_bert_vocab(const std::string& directory, const TokenizerConfig& config);
Result<std::unique_ptr<Tokenizer>> load_llama2c(const std::string& directory, const TokenizerConfig& config);

/// A file of tiktoken's, or of RWKV's, whose names vary.
std::optional<std::string> tiktoken_file(const std::string& directory);
std::optional<std::string> rwkv_vocab_file(const std::string& directory);

Result<GgufVocab> read_tokenizer_json_vocab(const std::string& path);
Result<GgufVocab> read_tekken_vocab(const std::string& path);
Result<GgufVocab> read_tiktoken_vocab(const std::string& path);
Result<GgufVocab> read_rwkv_vocab(const std::string& path);
Result<GgufVocab> read_bert_vocab(const std::string& path, const TokenizerConfig& config);
/// A WordPiece token in the spelling of GGUF.
std::string gguf_word_piece(std::string_view spelling, std::string_view prefix);

/// Builds a tokenizer from a GGUF vocabulary with a directory's configuration on top of it.
Result<std::unique_ptr<Tokenizer>> build_gguf_tokenizer(const GgufVocab& vocab, const TokenizerConfig& config);

}  // namespace sluice
