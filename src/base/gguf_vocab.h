#pragma once
// A vocabulary as GGUF metadata holds it ("tokenizer.ggml.*"). Every tokenizer file can be read into one, a tokenizer is
// built from one, and a converter writes one: it stands here because text/ and weights/ both speak of it.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"

namespace sluice {

/// tokenizer.ggml.token_type; the same numbers as sentencepiece's piece types.
enum class GgufTokenType : int32_t { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };

struct GgufVocab {
  // tokenizer.ggml.model: "llama" (sentencepiece BPE), "gpt2" (byte-level BPE), "gemma4" (BPE over characters), "bert"
  // (WordPiece), "t5" (Unigram), "rwkv" (longest match), "plamo2" (PLaMo 2), "whitespace" (BPE over characters of words)
  std::string model;
  std::string pre;                   // tokenizer.ggml.pre: names the pre-tokenizer of "gpt2"
  std::vector<std::string> tokens;   // by id
  std::vector<float> scores;         // "llama", "t5", "plamo2": by id
  std::vector<int32_t> token_types;  // by id; may be empty: all normal
  std::vector<std::string> merges;   // "gpt2", "gemma4", "whitespace": "left right", best first
  std::string character_map;         // "t5": tokenizer.ggml.precompiled_charsmap
  std::optional<TokenId> bos, eos, unk, pad, eot, sep, cls, mask;
  // Where absent, what the model's family does.
  std::optional<bool> add_bos, add_eos, add_sep, add_space_prefix, remove_extra_whitespaces;
  std::optional<bool> lowercase, strip_accents;  // "bert": tokenizer.ggml.normalizer.*
  // By name; "default" is tokenizer.chat_template, the others are tokenizer.chat_template.NAME.
  std::map<std::string, std::string> chat_templates;
};

}  // namespace sluice
