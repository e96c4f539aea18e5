#include "text/self_check/self_check.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "text/tokenizer/load_tokenizer.h"
#include "text/tokenizer/test_files.h"
#include "text/tokenizer/utf8.h"

namespace sluice {
namespace {

using nlohmann::json;

/// A tokenizer.json of single bytes, from `first` on; the last token ends a text.
json byte_tokenizer(int first) {
  json vocab = json::object();
  for (int b = first; b < 256; ++b) vocab[bytes_to_byte_level(std::string(1, static_cast<char>(b)))] = b;
  return {{"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", json::array()}}},
          {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}}},
          {"decoder", {{"type", "ByteLevel"}}},
          {"added_tokens", {{{"id", 256}, {"content", "<|im_end|>"}, {"special", true}}}}};
}

std::string oddities(const json& document, const char* jinja = nullptr) {
  const test::ModelDirectory directory;
  directory.write("tokenizer.json", document.dump());
  const auto tokenizer = load_tokenizer_directory(directory.path());
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  std::unique_ptr<ChatTemplate> chat;
  if (jinja != nullptr) chat = std::move(ChatTemplate::parse(jinja, "test")).value();
  return text_oddities(**tokenizer, chat.get());
}

constexpr const char* kChat = "{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}";

TEST(SelfCheck, AWholeTokenizerIsNotOdd) { EXPECT_EQ(oddities(byte_tokenizer(0), kChat), ""); }

TEST(SelfCheck, ABrokenTokenizerIs) {
  // The space and everything below have no token.
  const std::string line = oddities(byte_tokenizer(0x21));
  EXPECT_NE(line.find("'Hello, world!' decodes as 'Hello,world!'"), std::string::npos) << line;
  EXPECT_EQ(line.find('\n'), std::string::npos);
  json endless = byte_tokenizer(0);
  endless.erase("added_tokens");
  EXPECT_EQ(oddities(endless), "no token ends a generation");
  json shifted = byte_tokenizer(0);  // two letters have each other's place
  std::swap(shifted["model"]["vocab"]["e"], shifted["model"]["vocab"]["l"]);
  shifted["decoder"] = {{"type", "Sequence"},
                        {"decoders", {{{"type", "Replace"}, {"pattern", {{"String", "l"}}}, {"content", "L"}},
                                      {{"type", "ByteLevel"}}}}};
  EXPECT_NE(oddities(shifted).find("decodes as 'HeLLo, worLd!'"), std::string::npos) << oddities(shifted);
}

TEST(SelfCheck, ABrokenTemplateIs) {
  EXPECT_EQ(oddities(byte_tokenizer(0), "{% for m in messages %}{{ m.content }}<|eot_id|>{% endfor %}"),
            "the chat template writes <|eot_id|>, which is no token");
  EXPECT_EQ(oddities(byte_tokenizer(0), "hello"), "the chat template does not show what a user says");
  const std::string line = oddities(byte_tokenizer(0), "{{ raise_exception('no') }}");
  EXPECT_TRUE(line.starts_with("the chat template fails: ")) << line;
}

}  // namespace
}  // namespace sluice
