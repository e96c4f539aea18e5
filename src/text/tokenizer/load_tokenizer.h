#pragma once
// Tokenizers from the files of a model. Errors name the file and the field; hostile files fail in bounded time and
// memory.

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "base/gguf_vocab.h"
#include "text/tokenizer/tokenizer.h"

namespace sluice {

/// A model directory: the first format in catalog.cpp whose files are there, with tokenizer_config.json,
/// generation_config.json, chat_template.jinja, chat_template.json and additional_chat_templates/ where they are.
Result<std::unique_ptr<Tokenizer>> load_tokenizer_directory(const std::string& directory);

/// From the metadata of a GGUF file.
Result<std::unique_ptr<Tokenizer>> make_gguf_tokenizer(const GgufVocab& vocab);

/// sentencepiece tokenizer.model (BPE and Unigram).
Result<GgufVocab> read_sentencepiece_vocab(const std::string& path);
/// llama2.c tokenizer.bin: ids 0, 1, 2 are <unk>, <s>, </s>.
Result<GgufVocab> read_llama2c_vocab(const std::string& path);

/// The tokenizer of a model directory as GGUF metadata. Refuses, by name, what GGUF cannot say.
Result<GgufVocab> read_huggingface_vocab(const std::string& directory);
/// The other way round: the texts of tokenizer.json ("gpt2") or tokenizer.model ("llama"), tokenizer_config.json and
/// generation_config.json, by name.
Result<std::map<std::string, std::string>> write_huggingface_tokenizer(const GgufVocab& vocab);

}  // namespace sluice
