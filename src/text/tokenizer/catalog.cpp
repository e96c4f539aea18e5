#include "text/tokenizer/catalog.h"

#include "base/mapped_file.h"
#include "text/tokenizer/load_tokenizer.h"

namespace sluice {

std::span<const TokenizerFormat> tokenizer_formats() {
  static const TokenizerFormat formats[] = {
      {"Hugging Face tokenizers", {"tokenizer.json"}, load_tokenizer_json},
      {"sentencepiece", {"tokenizer.model"}, load_sentencepiece},
      {"vocabulary and merges", {"vocab.json", "merges.txt"}, load_vocab_and_merges},
      {"vocabulary and merges of Llama 3", {"encoder.json", "vocab.bpe"}, load_encoder_and_bpe},
      {"llama2.c", {"tokenizer.bin"}, load_llama2c},
  };
  return formats;
}

Result<std::unique_ptr<Tokenizer>> load_tokenizer_directory(const std::string& directory) {
  std::string tried;
  for (const TokenizerFormat& format : tokenizer_formats()) {
    bool complete = true;
    std::string files;
    for (const std::string_view file : format.files) {
      complete = complete && file_exists(fmt::format("{}/{}", directory, file));
      files += fmt::format("{}{}", files.empty() ? "" : " with ", file);
    }
    if (complete) {
      SLUICE_TRY(const TokenizerConfig config, read_tokenizer_config(directory));
      return format.load(directory, config);
    }
    tried += fmt::format("{}{}", tried.empty() ? "" : ", ", files);
  }
  return not_found(fmt::format("no tokenizer in {} (looked for {})", directory, tried));
}

}  // namespace sluice
