#include "text/tokenizer/catalog.h"

#include "base/mapped_file.h"
#include "text/tokenizer/load_tokenizer.h"

namespace sluice {
namespace {

template <const char*... Files>
bool has(const std::string& directory) {
  return (file_exists(directory + "/" + Files) && ...);
}
constexpr char kTokenizerJson[] = "tokenizer.json", kTekkenJson[] = "tekken.json", kModel[] = "tokenizer.model",
               kVocabJson[] = "vocab.json", kMerges[] = "merges.txt", kEncoder[] = "encoder.json", kBpe[] = "vocab.bpe",
               kVocabTxt[] = "vocab.txt", kBin[] = "tokenizer.bin";

Result<GgufVocab> has_no_gguf_form(const std::string& directory, const TokenizerConfig&) {
  return unsupported(fmt::format("{}: a tokenizer.json, tokenizer.model, tekken.json or *.tiktoken is needed to convert a "
                                 "byte-level BPE tokenizer",
                                 directory));
}

constexpr TokenizerFormat kFormats[] = {
    {"Hugging Face tokenizers", "tokenizer.json", has<kTokenizerJson>, load_tokenizer_json,
     [](const std::string& d, const TokenizerConfig&) { return read_tokenizer_json_vocab(d + "/tokenizer.json"); }},
    {"Mistral's tekken", "tekken.json", has<kTekkenJson>, load_tekken,
     [](const std::string& d, const TokenizerConfig&) { return read_tekken_vocab(d + "/tekken.json"); }},
    {"tiktoken", "*.tiktoken", [](const std::string& d) { return tiktoken_file(d).has_value(); }, load_tiktoken,
     [](const std::string& d, const TokenizerConfig&) { return read_tiktoken_vocab(*tiktoken_file(d)); }},
    {"sentencepiece", "tokenizer.model", has<kModel>, load_sentencepiece,
     [](const std::string& d, const TokenizerConfig&) { return read_sentencepiece_vocab(d + "/tokenizer.model"); }},
    {"vocabulary and merges", "vocab.json with merges.txt", has<kVocabJson, kMerges>, load_vocab_and_merges,
     has_no_gguf_form},
    {"vocabulary and merges of Llama 3", "encoder.json with vocab.bpe", has<kEncoder, kBpe>, load_encoder_and_bpe,
     has_no_gguf_form},
    {"RWKV World", "rwkv_vocab*.txt", [](const std::string& d) { return rwkv_vocab_file(d).has_value(); }, load_rwkv,
     [](const std::string& d, const TokenizerConfig&) { return read_rwkv_vocab(*rwkv_vocab_file(d)); }},
    {"BERT's vocabulary", "vocab.txt", has<kVocabTxt>, load_bert_vocab,
     [](const std::string& d, const TokenizerConfig& c) { return read_bert_vocab(d + "/vocab.txt", c); }},
    {"llama2.c", "tokenizer.bin", has<kBin>, load_llama2c,
     [](const std::string& d, const TokenizerConfig&) { return read_llama2c_vocab(d + "/tokenizer.bin"); }},
};

}  // namespace

std::span<const TokenizerFormat> tokenizer_formats() { return kFormats; }

Result<const TokenizerFormat*> find_tokenizer_format(const std::string& directory) {
  std::string tried;
  for (const TokenizerFormat& format : tokenizer_formats()) {
    if (format.is_in(directory)) return &format;
    tried.append(tried.empty() ? "" : ", ").append(format.looked_for);
  }
  return not_found(fmt::format("no tokenizer in {} (looked for {})", directory, tried));
}

Result<std::unique_ptr<Tokenizer>> load_tokenizer_directory(const std::string& directory) {
  SLUICE_TRY(const TokenizerFormat* format, find_tokenizer_format(directory));
  SLUICE_TRY(const TokenizerConfig config, read_tokenizer_config(directory));
  return format->load(directory, config);
}

}  // namespace sluice
