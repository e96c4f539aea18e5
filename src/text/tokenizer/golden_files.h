#pragma once
// For tests: the tokenizers of the test data by the names that golden files have for them.

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "text/tokenizer/load_tokenizer.h"
#include "text/tokenizer/test_files.h"
#include "text/tokenizer/utf8.h"

namespace sluice::test {

/// The tokenizer.json of Llama 2. The copy that we have lost its no-break spaces to plain ones somewhere, so that the
/// reference refuses it; tokens hold no plain space otherwise, and in a merge that has several the one in the middle is
/// the separator.
inline nlohmann::json llama2_json() {
  using nlohmann::json;
  json document = json::parse(*read_file(external_data() + "/tokenizers/llama2/tokenizer.json"));
  const auto no_break = [](const std::string& text) {
    std::string out;
    for (const char c : text) c == ' ' ? void(out += "\u00a0") : out.push_back(c);
    return out;
  };
  json vocab = json::object();
  for (const auto& [text, id] : document["model"]["vocab"].items()) vocab[no_break(text)] = id;
  document["model"]["vocab"] = vocab;
  for (json& merge : document["model"]["merges"]) {
    const std::string text = merge;
    if (std::count(text.begin(), text.end(), ' ') == 1) continue;
    size_t characters = 0, middle = 0;
    for (size_t at = 0; at < text.size(); at += utf8_length(static_cast<unsigned char>(text[at]))) ++characters;
    for (size_t i = 0; i < characters / 2; ++i) middle += utf8_length(static_cast<unsigned char>(text[middle]));
    merge = no_break(text.substr(0, middle)) + " " + no_break(text.substr(middle + 1));
  }
  for (json& token : document["added_tokens"]) token["normalized"] = false;
  return document;
}

/// The model directory of the case, made of links.
inline void make_golden_directory(const std::string& name, const ModelDirectory& directory) {
  using nlohmann::json;
  const auto link = [&](const std::string& from, const std::string& to) { directory.link(external_data() + "/" + from, to); };
  const std::string at = "tokenizers/";
  if (name == "llama2") directory.write("tokenizer.json", llama2_json().dump());
  if (name == "llama3") {
    link(at + "llama3/encoder.json", "encoder.json");
    link(at + "llama3/vocab.bpe", "vocab.bpe");
    const json specials = {{"128000", {{"content", "<|begin_of_text|>"}, {"special", true}}},
                           {"128001", {{"content", "<|end_of_text|>"}, {"special", true}}}};
    directory.write("tokenizer_config.json",
                    json({{"bos_token", "<|begin_of_text|>"}, {"add_bos_token", true}, {"added_tokens_decoder", specials}}).dump());
  }
  const std::vector<std::pair<std::string, std::vector<std::pair<std::string, std::string>>>> linked = {
      {"gpt-neox", {{at + "gpt-neox/20B_tokenizer.json", "tokenizer.json"}}},
      {"t5", {{at + "t5/tokenizer.json", "tokenizer.json"}}},
      {"qwen2",
       {{at + "qwen2/vocab.json", "vocab.json"},
        {at + "qwen2/merges.txt", "merges.txt"},
        {at + "qwen2/tokenizer_config.qwen2.5.json", "tokenizer_config.json"}}},
      {"bert-vocab", {{at + "bert/bert-vocab.txt", "vocab.txt"}}},
      {"mistral-v1", {{at + "mistral/tokenizer.model.v1", "tokenizer.model"}}},
      {"mistral-v3", {{at + "mistral/mistral_instruct_tokenizer_240323.model.v3", "tokenizer.model"}}},
      {"tok105", {{"babyllama105/tok105.model", "tokenizer.model"}}},
      {"rwkv-world", {{at + "rwkv-world/rwkv_vocab_v20230424.txt", "rwkv_vocab_v20230424.txt"}}},
      {"tiktoken-o200k_harmony", {{at + "tiktoken/o200k_base.tiktoken", "o200k_harmony.tiktoken"}}},
  };
  bool known = name == "llama2" || name == "llama3";
  for (const auto& [each, files] : linked) {
    if (each != name) continue;
    for (const auto& [from, to] : files) link(from, to);
    known = true;
  }
  if (!known && name.starts_with("tiktoken-")) link(at + "tiktoken/" + name.substr(9) + ".tiktoken", name.substr(9) + ".tiktoken");
}

inline std::unique_ptr<Tokenizer> golden_tokenizer(const std::string& name) {
  const ModelDirectory directory;
  const bool local = name.starts_with("unigram") || name == "tok512";
  if (local)
    directory.link(repository_data(name + "/tokenizer.model"), "tokenizer.model");
  else
    make_golden_directory(name, directory);
  auto tokenizer = load_tokenizer_directory(directory.path());
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  return tokenizer.ok() ? std::move(tokenizer).value() : nullptr;
}

}  // namespace sluice::test
