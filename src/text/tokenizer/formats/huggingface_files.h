#pragma once
// The two tokenizer files that a GGUF vocabulary becomes in a Hugging Face directory.

#include <string>
#include <vector>

#include "base/gguf_vocab.h"
#include "base/result.h"
#include "text/tokenizer/added_tokens.h"
#include "text/tokenizer/formats/gguf_model.h"

namespace sluice {

/// Control, unknown and user-defined tokens: those that are found in text as they stand.
std::vector<AddedToken> added_tokens_of(const GgufVocab& vocab);
/// Whether it only fills the vocabulary up to the embedding's rows.
bool is_filling(const GgufVocab& vocab, size_t id);

/// tokenizer.json of "gpt2".
Result<std::string> byte_level_json(const GgufVocab& vocab, const std::vector<AddedToken>& added, const TokensAround& around);
/// tokenizer.model of "llama": sentencepiece's protocol buffer (sentencepiece_model.proto).
std::string sentencepiece_model(const GgufVocab& vocab);

}  // namespace sluice
