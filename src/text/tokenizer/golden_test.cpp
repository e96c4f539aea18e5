// Equality with reference implementations: golden.json (made by tests/golden/make_tokenizer_golden.py) and the golden
// files of test data that may not be copied here.

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include <nlohmann/json.hpp>

#include "text/tokenizer/detokenizer.h"
#include "text/tokenizer/golden_files.h"
#include "text/tokenizer/load_tokenizer.h"
#include "text/tokenizer/test_files.h"
#include "text/tokenizer/utf8.h"

namespace sluice {
namespace {

using nlohmann::json;
using Ids = std::vector<TokenId>;
using TokenizerPtr = std::unique_ptr<Tokenizer>;

json read_json(const std::string& path) {
  auto text = read_file(path);
  EXPECT_TRUE(text.ok()) << text.error().message;
  return json::parse(*text);
}

/// A tokenizer from a directory made of external files under new names, and a tokenizer_config.json.
TokenizerPtr load_external(const std::vector<std::pair<std::string, std::string>>& files, const json& config = {}) {
  const test::ModelDirectory directory;
  for (const auto& [from, name] : files) directory.link(test::external_data() + "/" + from, name);
  if (!config.is_null()) directory.write("tokenizer_config.json", config.dump());
  auto tokenizer = load_tokenizer_directory(directory.path());
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  return tokenizer.ok() ? std::move(tokenizer).value() : nullptr;
}

TokenizerPtr gpt2() { return test::golden_tokenizer("tiktoken-r50k_base"); }

TokenizerPtr qwen2() {
  return load_external({{"tokenizers/qwen2/vocab.json", "vocab.json"},
                        {"tokenizers/qwen2/merges.txt", "merges.txt"},
                        {"tokenizers/qwen2/tokenizer_config.qwen2.5.json", "tokenizer_config.json"}});
}

TokenizerPtr llama3() {
  const json config = {{"bos_token", "<|begin_of_text|>"},
                       {"add_bos_token", true},
                       {"added_tokens_decoder", {{"128000", {{"content", "<|begin_of_text|>"}, {"special", true}}}}}};
  return load_external(
      {{"tokenizers/llama3/encoder.json", "encoder.json"}, {"tokenizers/llama3/vocab.bpe", "vocab.bpe"}}, config);
}

TokenizerPtr sentencepiece(const std::string& file) { return load_external({{file, "tokenizer.model"}}); }

/// Every input of golden.json, as text and, where the reference has it, with special tokens parsed.
void expect_golden(const std::string& name, const Tokenizer& tokenizer, bool lossless) {
  const json golden = read_json(test::repository_data("golden.json"));
  const json& vocabulary = golden["vocabularies"][name];
  for (size_t i = 0; i < golden["inputs"].size(); ++i) {
    const std::string text = golden["inputs"][i];
    const Ids ids = tokenizer.encode(text, {.add_special = false});
    // Markup that is no special token by name is one for us: only trusted text has it (see is_control).
    if (text.find("<tool_call>") == std::string::npos) {
      EXPECT_EQ(ids, vocabulary["ids"][i].get<Ids>()) << name << " input " << i << ": " << text;
    }
    if (vocabulary.contains("parsed")) {
      EXPECT_EQ(tokenizer.encode(text, {.add_special = false, .parse_special = true}),
                vocabulary["parsed"][i].get<Ids>())
          << name << " input " << i << ": " << text;
    }
    Detokenizer detokenizer(tokenizer);
    std::string streamed;
    for (const TokenId id : ids) streamed += detokenizer.push(id);
    streamed += detokenizer.finish();
    EXPECT_EQ(streamed, tokenizer.decode(ids)) << text;
    if (lossless && text.find("\u2581") == std::string::npos) {  // which sentencepiece cannot tell from a space
      EXPECT_EQ(streamed, text) << name;
    }
  }
}

TEST(TokenizerGolden, Tok512) {
  auto tokenizer = load_tokenizer_directory(test::repository_data("tok512"));
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  expect_golden("tok512", **tokenizer, false);  // it removes extra spaces
}

TEST(TokenizerGolden, Tok105WithoutByteFallback) {
  SLUICE_NEED_EXTERNAL_DATA();
  const auto tokenizer = sentencepiece("babyllama105/tok105.model");
  ASSERT_TRUE(tokenizer);
  expect_golden("tok105", *tokenizer, false);
  for (const char* name : {"babyllama105", "stories260K"}) {
    const bool baby = std::string(name) == "babyllama105";
    auto vocab = read_llama2c_vocab(test::external_data() + "/" + name + (baby ? "/tok105.bin" : "/tok512.bin"));
    ASSERT_TRUE(vocab.ok()) << vocab.error().message;
    auto from_bin = make_gguf_tokenizer(*vocab);
    ASSERT_TRUE(from_bin.ok()) << from_bin.error().message;
    const json golden = read_json(test::external_data() + "/" + name + "/golden.json");
    for (const json& entry : golden["cases"]) {
      EXPECT_EQ((*from_bin)->encode(entry["prompt"].get<std::string>()), entry["prompt_ids"].get<Ids>());
      Ids all = entry["prompt_ids"];
      for (const TokenId id : entry["greedy_ids"]) all.push_back(id);
      all.erase(all.begin());  // BOS; the reference writes <unk> out, which skip_special would drop
      EXPECT_EQ((*from_bin)->decode(all, {.skip_special = false}), entry["text"].get<std::string>());
    }
  }
}

TEST(TokenizerGolden, Mistral) {
  SLUICE_NEED_EXTERNAL_DATA();
  const auto v1 = sentencepiece("tokenizers/mistral/tokenizer.model.v1");
  const auto v3 = sentencepiece("tokenizers/mistral/mistral_instruct_tokenizer_240323.model.v3");
  ASSERT_TRUE(v1 && v3);
  expect_golden("mistral-v1", *v1, true);
  expect_golden("mistral-v3", *v3, true);
}

TEST(TokenizerGolden, Qwen2) {
  SLUICE_NEED_EXTERNAL_DATA();
  const auto tokenizer = qwen2();
  ASSERT_TRUE(tokenizer);
  expect_golden("qwen2", *tokenizer, false);  // NFC changes some inputs
  EXPECT_TRUE(tokenizer->is_end_of_generation(*tokenizer->token_id("<|im_end|>")));
  EXPECT_FALSE(tokenizer->chat_templates().at("default").empty());
}

TEST(TokenizerGolden, Gpt2) {
  SLUICE_NEED_EXTERNAL_DATA();
  expect_golden("gpt2", *gpt2(), true);
}

TEST(TokenizerGolden, GptNeox) {
  SLUICE_NEED_EXTERNAL_DATA();
  const auto tokenizer = load_external({{"tokenizers/gpt-neox/20B_tokenizer.json", "tokenizer.json"}});
  ASSERT_TRUE(tokenizer);
  expect_golden("gpt-neox", *tokenizer, false);  // NFC changes some inputs
}

/// Files of swift-transformers: {"text", "token_ids", "decoded_text"}.
void expect_encoded_file(const std::string& file, const Tokenizer& tokenizer) {
  const json golden = read_json(test::external_data() + "/tokenizers/golden/" + file);
  EXPECT_EQ(tokenizer.encode(golden["text"].get<std::string>()), golden["token_ids"].get<Ids>()) << file;
  std::string decoded = tokenizer.decode(golden["token_ids"].get<Ids>(), {.skip_special = false});
  EXPECT_EQ(decoded, golden["decoded_text"].get<std::string>()) << file;
}

/// And tokenizer_tests.json. Its decoded texts went through a clean-up of spaces before punctuation, which is cosmetic
/// and loses text, so ours are held against the input instead.
void expect_test_cases(const std::string& model, const Tokenizer& tokenizer, const std::string& bos) {
  const json golden = read_json(test::external_data() + "/tokenizers/golden/tokenizer_tests.json");
  ASSERT_TRUE(golden.contains(model));
  for (const json& entry : golden[model]) {
    const std::string input = entry["input"];
    const Ids ids = entry["encoded"]["input_ids"];
    EXPECT_EQ(tokenizer.encode(input), ids) << model << ": " << input;
    EXPECT_EQ(tokenizer.decode(ids), input) << model;
    EXPECT_EQ(tokenizer.decode(ids, {.skip_special = false}), bos + input) << model;
    const bool cleaned = input.find(" !!") != std::string::npos;
    if (!cleaned) {
      EXPECT_EQ(bos + input, entry["decoded_with_special"]);
      EXPECT_EQ(input, entry["decoded_without_special"]);
    }
  }
}

TEST(TokenizerGolden, SwiftTransformersFiles) {
  SLUICE_NEED_EXTERNAL_DATA();
  const auto small = gpt2();
  expect_encoded_file("gpt2_encoded_tokens.json", *small);
  expect_test_cases("distilgpt2", *small, "");
  const auto from_json = test::golden_tokenizer("llama2");
  ASSERT_TRUE(from_json);
  expect_encoded_file("llama_encoded.json", *from_json);
  expect_test_cases("coreml-projects/Llama-2-7b-chat-coreml", *from_json, "<s> ");
  const auto from_model = sentencepiece("tokenizers/llama2/tokenizer.model");
  ASSERT_TRUE(from_model);
  expect_encoded_file("llama_encoded.json", *from_model);
  expect_test_cases("coreml-projects/Llama-2-7b-chat-coreml", *from_model, "<s> ");
  const auto llama = llama3();
  ASSERT_TRUE(llama);
  expect_encoded_file("llama_3.2_encoded.json", *llama);
  if (const auto t5 = test::golden_tokenizer("t5")) expect_encoded_file("t5_base_encoded.json", *t5);
  expect_test_cases("pcuenq/Llama-3.2-1B-Instruct-tokenizer", *llama, "<|begin_of_text|>");
}

/// Inputs and ids of llama.cpp's vocabulary tests.
void expect_llama_cpp(const std::string& name, const Tokenizer& tokenizer) {
  const std::string base = test::external_data() + "/llama-cpp-vocab/ggml-vocab-" + name + ".gguf";
  auto inputs = read_file(base + ".inp");
  ASSERT_TRUE(inputs.ok()) << inputs.error().message;
  std::ifstream out(base + ".out");
  const std::string separator = "\n__ggml_vocab_test__\n";
  size_t lines = 0;
  for (size_t at = 0; at < inputs->size();) {
    const size_t end = std::min(inputs->find(separator, at), inputs->size());
    const std::string text = inputs->substr(at, end - at);
    at = end + separator.size();
    std::string line;
    ASSERT_TRUE(std::getline(out, line)) << name;
    std::istringstream numbers(line);
    Ids expected;
    for (TokenId id; numbers >> id;) expected.push_back(id);
    EXPECT_EQ(tokenizer.encode(text, {.add_special = false}), expected) << name << " line " << lines << ": " << text;
    EXPECT_EQ(tokenizer.decode(expected), text) << name;
    ++lines;
  }
  EXPECT_GT(lines, 40u);
}

TEST(TokenizerGolden, LlamaCppFiles) {
  SLUICE_NEED_EXTERNAL_DATA();
  expect_llama_cpp("gpt-2", *gpt2());
  if (const auto tokenizer = qwen2()) expect_llama_cpp("qwen2", *tokenizer);
  if (const auto tokenizer = llama3()) expect_llama_cpp("llama-bpe", *tokenizer);
  if (const auto tokenizer = sentencepiece("tokenizers/llama2/tokenizer.model"))
    expect_llama_cpp("llama-spm", *tokenizer);
  auto vocab = read_llama2c_vocab(test::external_data() + "/tokenizers/llama2/tokenizer.bin");
  ASSERT_TRUE(vocab.ok()) << vocab.error().message;
  auto from_bin = make_gguf_tokenizer(*vocab);
  ASSERT_TRUE(from_bin.ok()) << from_bin.error().message;
  expect_llama_cpp("llama-spm", **from_bin);
}

// A directory written as GGUF metadata is the same tokenizer.
TEST(TokenizerGolden, TheGgufFormEqualsTheDirectory) {
  SLUICE_NEED_EXTERNAL_DATA();
  const json golden = read_json(test::repository_data("golden.json")), corpora = read_json(test::repository_data("corpora.json"));
  std::vector<std::string> texts = golden["inputs"];
  for (const std::string text : corpora["odd"]) texts.push_back(text);
  for (const char* name : {"t5", "bert-vocab", "llama2", "mistral-v1", "mistral-v3", "tok105", "tiktoken-r50k_base",
                           "tiktoken-p50k_base", "tiktoken-cl100k_base", "tiktoken-o200k_harmony", "rwkv-world"}) {
    const test::ModelDirectory directory;
    test::make_golden_directory(name, directory);
    const auto own = load_tokenizer_directory(directory.path());
    ASSERT_TRUE(own.ok()) << own.error().message;
    const auto vocab = read_huggingface_vocab(directory.path());
    ASSERT_TRUE(vocab.ok()) << name << ": " << vocab.error().message;
    const auto written = make_gguf_tokenizer(*vocab);
    ASSERT_TRUE(written.ok()) << name << ": " << written.error().message;
    const auto files = write_huggingface_tokenizer(*vocab);  // and as a directory once more
    ASSERT_TRUE(files.ok()) << name << ": " << files.error().message;
    const test::ModelDirectory other;
    for (const auto& [file, content] : *files) other.write(file, content);
    const auto again = load_tokenizer_directory(other.path());
    ASSERT_TRUE(again.ok()) << name << ": " << again.error().message;
    if (const std::string lines = "rwkv_vocab_v20230424.txt"; files->contains(lines)) {
      EXPECT_TRUE(files->at(lines) == *read_file(directory.path() + "/" + lines)) << "other bytes than its authors'";
    }
    for (const std::string& text : texts) {
      for (const bool trusted : {false, true}) {
        const EncodeOptions options{.add_special = trusted, .parse_special = trusted};
        const Ids ids = (*own)->encode(text, options);
        ASSERT_EQ((*written)->encode(text, options), ids) << name << ": " << text;
        ASSERT_EQ((*again)->encode(text, options), ids) << name << ": " << text;
        EXPECT_EQ((*written)->decode(ids), (*own)->decode(ids)) << name;
      }
    }
  }
}

// Rendered chats of mistral-common. The text spells spaces as U+2581, and the one before the first word is written out.
TEST(TokenizerGolden, MistralSamples) {
  SLUICE_NEED_EXTERNAL_DATA();
  const json no_prefix = {{"add_prefix_space", false}};
  const auto v1 = load_external({{"tokenizers/mistral/tokenizer.model.v1", "tokenizer.model"}}, no_prefix);
  const auto v3 =
      load_external({{"tokenizers/mistral/mistral_instruct_tokenizer_240323.model.v3", "tokenizer.model"}}, no_prefix);
  ASSERT_TRUE(v1 && v3);
  int compared = 0;
  for (const auto& entry : std::filesystem::directory_iterator(test::external_data() + "/tokenizers/mistral/samples")) {
    for (const auto& [version, tokenizer] : {std::pair("v1", v1.get()), std::pair("v3", v3.get())}) {
      const std::string text_path = entry.path().string() + "/text_" + version + ".txt";
      if (!file_exists(text_path)) continue;
      std::string text = *read_file(text_path);
      for (size_t hit; (hit = text.find("\u2581")) != std::string::npos;) text.replace(hit, 3, " ");
      for (size_t hit; (hit = text.find("<0x0A>")) != std::string::npos;) text.replace(hit, 6, "\n");
      const Ids expected = read_json(entry.path().string() + "/tokens_" + version + ".json")["tokens"];
      EXPECT_EQ(tokenizer->encode(text, {.add_special = false, .parse_special = true}), expected) << text_path;
      ++compared;
    }
  }
  EXPECT_GE(compared, 7);
}

// The same vocabulary through tokenizer.json and through GGUF metadata.
TEST(TokenizerGolden, GgufMetadataEqualsTokenizerJson) {
  SLUICE_NEED_EXTERNAL_DATA();
  const auto expected = test::golden_tokenizer("llama2");
  ASSERT_TRUE(expected);
  const json model = test::llama2_json()["model"];
  GgufVocab vocab{.model = "llama"};
  vocab.tokens.resize(model["vocab"].size());
  vocab.scores.resize(vocab.tokens.size());
  vocab.token_types.assign(vocab.tokens.size(), static_cast<int32_t>(GgufTokenType::normal));
  for (const auto& [text, id] : model["vocab"].items()) {
    const size_t at = id;
    vocab.tokens[at] = text;
    vocab.scores[at] = -1e9f;
    if (at < 3)
      vocab.token_types[at] = static_cast<int32_t>(at == 0 ? GgufTokenType::unknown : GgufTokenType::control);
    else if (spelled_byte(text))
      vocab.token_types[at] = static_cast<int32_t>(GgufTokenType::byte);
  }
  // The merges stand in the order of the scores of what they make.
  for (size_t i = model["merges"].size(); i-- > 0;) {
    std::string merge = model["merges"][i];
    merge.erase(merge.find(' '), 1);
    vocab.scores[model["vocab"][merge].get<size_t>()] = -static_cast<float>(i);
  }
  vocab.unk = 0, vocab.bos = 1, vocab.eos = 2;
  auto found = make_gguf_tokenizer(vocab);
  ASSERT_TRUE(found.ok()) << found.error().message;
  const json golden = read_json(test::repository_data("golden.json"));
  for (const std::string text : golden["inputs"]) {
    EXPECT_EQ((*found)->encode(text), expected->encode(text)) << text;
    const Ids ids = expected->encode(text);
    EXPECT_EQ((*found)->decode(ids), expected->decode(ids));
  }
}

}  // namespace
}  // namespace sluice
