#pragma once
// The tokenizer files that a GGUF vocabulary becomes in a Hugging Face directory.

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

#include "base/gguf_vocab.h"
#include "base/result.h"
#include "text/tokenizer/added_tokens.h"
#include "text/tokenizer/formats/gguf_model.h"

namespace sluice {

/// What a writer is given: the vocabulary, which a tokenizer was made of, its added tokens, and what stands around texts.
struct VocabToWrite {
  const GgufVocab& vocab;
  const std::vector<AddedToken>& added;
  const TokensAround& around;
};

/// Control, unknown and user-defined tokens: those that are found in text as they stand.
std::vector<AddedToken> added_tokens_of(const GgufVocab& vocab);
/// Whether it only fills the vocabulary up to the embedding's rows: an unused "[PAD7]". (Where llama.cpp's converter moves pieces by one,
/// the number is not the id.)
bool is_filling(const GgufVocab& vocab, size_t id);
/// How many ids are left without the filling at the end.
size_t without_filling(const GgufVocab& vocab);
/// As encoders have it, which read texts in pairs.
bool marks_both_ends(const TokensAround& around);

/// A tokenizer.json without its model, normalizer, pre_tokenizer and decoder: the added tokens, and the post_processor (null where
/// nothing stands around texts).
nlohmann::ordered_json tokenizer_frame(const VocabToWrite& what);
/// Whether a list has an id, where there is one.
bool holds(const std::vector<TokenId>& list, const std::optional<TokenId>& id);
/// `document` with `model` as its last part and `texts`, members of `model` that are text already, as the last of that: an ordered_json
/// object would look every key up.
std::string with_model(const nlohmann::ordered_json& document, const nlohmann::ordered_json& model, const std::string& texts);

// One file each.
/// tokenizer.json of "gpt2", of "bert" and of "t5".
Result<std::string> byte_level_json(const VocabToWrite& what);
Result<std::string> word_piece_json(const VocabToWrite& what);
Result<std::string> unigram_json(const VocabToWrite& what);
/// rwkv_vocab_v20230424.txt of "rwkv".
Result<std::string> rwkv_vocab_text(const VocabToWrite& what);
/// tokenizer.model of "llama": sentencepiece's protocol buffer (sentencepiece_model.proto).
Result<std::string> sentencepiece_model(const VocabToWrite& what);

}  // namespace sluice
