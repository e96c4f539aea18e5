#pragma once
// The tokenizer formats that a model directory may hold, in order of preference.

#include <memory>
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
  std::vector<std::string_view> files;  // all must be there
  Result<std::unique_ptr<Tokenizer>> (*load)(const std::string& directory, const TokenizerConfig& config);
};

std::span<const TokenizerFormat> tokenizer_formats();

// One file each.
Result<std::unique_ptr<Tokenizer>> load_tokenizer_json(const std::string& directory, const TokenizerConfig& config);
Result<std::unique_ptr<Tokenizer>> load_sentencepiece(const std::string& directory, const TokenizerConfig& config);
Result<std::unique_ptr<Tokenizer>> load_vocab_and_merges(const std::string& directory, const TokenizerConfig& config);
Result<std::unique_ptr<Tokenizer>> load_encoder_and_bpe(const std::string& directory, const TokenizerConfig& config);
Result<std::unique_ptr<Tokenizer>> load_llama2c(const std::string& directory, const TokenizerConfig& config);

/// Builds a tokenizer from a GGUF vocabulary with a directory's configuration on top of it.
Result<std::unique_ptr<Tokenizer>> build_gguf_tokenizer(const GgufVocab& vocab, const TokenizerConfig& config);

}  // namespace sluice
