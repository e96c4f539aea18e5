#include "weights/gguf_model_keys.h"

#include <gtest/gtest.h>

namespace sluice {
namespace {

Metadata three_tokens() {
  Metadata m(MetadataKind::gguf, "model.gguf");
  m.set("tokenizer.ggml.model", std::string("llama"));
  m.set("tokenizer.ggml.tokens", std::vector<std::string>{"<s>", "a", "b"});
  return m;
}

std::string error_with(const std::string& key, MetadataValue value) {
  Metadata m = three_tokens();
  m.set(key, std::move(value));
  const auto vocab = read_gguf_vocab(m);
  return vocab.ok() ? "" : vocab.error().message;
}

TEST(GgufVocabKeys, IdsOutsideTheVocabularyAreRefused) {
  for (const char* name : {"bos", "eos", "unknown", "padding", "eot"}) {
    const std::string key = fmt::format("tokenizer.ggml.{}_token_id", name);
    for (const int64_t id : {int64_t{3}, int64_t{2147483648}, int64_t{-2}, int64_t{1} << 40})
      EXPECT_EQ(error_with(key, id),
                fmt::format("model.gguf: {} is {}; it must be from 0 to 2, or -1 for none", key, id));
    EXPECT_NE(error_with(key, std::string("1")).find("model.gguf: \"" + key + "\" is a string"), std::string::npos);
    EXPECT_EQ(error_with(key, int64_t{2}), "");
  }
  EXPECT_NE(error_with("tokenizer.ggml.add_bos_token", int64_t{1}).find("a boolean is wanted"), std::string::npos);
}

TEST(GgufVocabKeys, MinusOneIsNoId) {
  for (const int64_t none : {int64_t{-1}, int64_t{4294967295}}) {
    Metadata m = three_tokens();
    m.set("tokenizer.ggml.bos_token_id", none);
    m.set("tokenizer.ggml.eos_token_id", int64_t{2});
    const auto vocab = read_gguf_vocab(m);
    ASSERT_TRUE(vocab.ok()) << vocab.error().message;
    EXPECT_FALSE(vocab->bos.has_value());
    EXPECT_EQ(vocab->eos, 2);
  }
}

TEST(GgufVocabKeys, TemplatesHaveNames) {
  const std::string at = "tokenizer.chat_template";
  Metadata m = three_tokens();
  m.set(at, std::string("D"));
  m.set(at + ".tool_use", std::string("T"));
  m.set(at + ".rag", std::string("R"));  // not listed
  m.set(at + ".none", std::string());
  m.set(at + "s", std::vector<std::string>{"default", "tool_use"});
  const auto vocab = read_gguf_vocab(m);
  ASSERT_TRUE(vocab.ok()) << vocab.error().message;
  const std::map<std::string, std::string> want{{"default", "D"}, {"rag", "R"}, {"tool_use", "T"}};
  EXPECT_EQ(vocab->chat_templates, want);

  m.set(at + "s", std::vector<std::string>{"tool_use", "lost"});
  const auto lost = read_gguf_vocab(m);
  ASSERT_FALSE(lost.ok());
  EXPECT_EQ(lost.error().message,
            "model.gguf: tokenizer.chat_templates lists \"lost\", but tokenizer.chat_template.lost is missing");
  EXPECT_NE(error_with(at + "s", std::string("tool_use")).find("chat_templates is no array of strings"),
            std::string::npos);
  EXPECT_NE(error_with(at + ".tool_use", int64_t{1}).find("\"tokenizer.chat_template.tool_use\" is a"),
            std::string::npos);

  // What is written is read back.
  const auto keys = gguf_model_keys({.arch = "llama", .vocab = 3}, *vocab, **find_quant_recipe("f16"));
  ASSERT_TRUE(keys.ok()) << keys.error().message;
  Metadata written = three_tokens();
  for (const GgufKey& key : *keys)
    if (key.name.starts_with(at)) written.set(key.name, key.value);
  const auto again = read_gguf_vocab(written);
  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_EQ(again->chat_templates, want);
  EXPECT_EQ(*written.strings(at + "s"), (std::vector<std::string>{"rag", "tool_use"}));
}

}  // namespace
}  // namespace sluice
