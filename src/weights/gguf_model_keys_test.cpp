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

}  // namespace
}  // namespace sluice
