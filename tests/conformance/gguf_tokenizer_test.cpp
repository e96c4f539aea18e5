// Vocabularies read from GGUF files by weights/, against the golden ids that llama.cpp keeps beside them.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "base/mapped_file.h"
#include "text/tokenizer/load_tokenizer.h"
#include "weights/gguf_file.h"

namespace sluice {
namespace {

GgufVocab vocab_from(const Metadata& metadata) {
  const auto id = [&](const char* key) -> std::optional<TokenId> {
    const auto value = metadata.integer(key);
    return value.ok() ? std::optional<TokenId>(static_cast<TokenId>(*value)) : std::nullopt;
  };
  const auto flag = [&](const char* key) -> std::optional<bool> {
    const auto value = metadata.boolean(key);
    return value.ok() ? std::optional<bool>(*value) : std::nullopt;
  };
  GgufVocab vocab;
  vocab.model = metadata.string_or("tokenizer.ggml.model", "");
  vocab.pre = metadata.string_or("tokenizer.ggml.pre", "");
  if (const auto* tokens = metadata.strings("tokenizer.ggml.tokens")) vocab.tokens = *tokens;
  if (const auto* merges = metadata.strings("tokenizer.ggml.merges")) vocab.merges = *merges;
  if (const auto* scores = metadata.doubles("tokenizer.ggml.scores")) vocab.scores.assign(scores->begin(), scores->end());
  if (const auto* types = metadata.integers("tokenizer.ggml.token_type"))
    vocab.token_types.assign(types->begin(), types->end());
  vocab.bos = id("tokenizer.ggml.bos_token_id");
  vocab.eos = id("tokenizer.ggml.eos_token_id");
  vocab.unk = id("tokenizer.ggml.unknown_token_id");
  vocab.add_bos = flag("tokenizer.ggml.add_bos_token");
  vocab.add_eos = flag("tokenizer.ggml.add_eos_token");
  vocab.add_space_prefix = flag("tokenizer.ggml.add_space_prefix");
  return vocab;
}

class GgufTokenizer : public ::testing::TestWithParam<const char*> {};

TEST_P(GgufTokenizer, EqualsTheGoldenIds) {
  const char* data = std::getenv("SLUICE_TEST_DATA");
  if (data == nullptr) GTEST_SKIP() << "SLUICE_TEST_DATA is not set: no GGUF vocabularies";
  const std::string base = std::string(data) + "/llama-cpp-vocab/ggml-vocab-" + GetParam() + ".gguf";
  const auto source = open_gguf(base);
  ASSERT_TRUE(source.ok()) << source.error().message;
  const auto tokenizer = make_gguf_tokenizer(vocab_from((*source)->metadata()));
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;

  const auto inputs = read_file(base + ".inp");
  ASSERT_TRUE(inputs.ok()) << inputs.error().message;
  std::ifstream out(base + ".out");
  const std::string separator = "\n__ggml_vocab_test__\n";
  int compared = 0;
  for (size_t at = 0; at < inputs->size();) {
    const size_t end = std::min(inputs->find(separator, at), inputs->size());
    const std::string text = inputs->substr(at, end - at);
    at = end + separator.size();
    std::string line;
    ASSERT_TRUE(std::getline(out, line));
    std::istringstream numbers(line);
    std::vector<TokenId> expected;
    for (TokenId id; numbers >> id;) expected.push_back(id);
    EXPECT_EQ((*tokenizer)->encode(text, {.add_special = false}), expected) << text;
    EXPECT_EQ((*tokenizer)->decode(expected), text);
    ++compared;
  }
  EXPECT_GT(compared, 40);
}

INSTANTIATE_TEST_SUITE_P(LlamaCpp, GgufTokenizer, ::testing::Values("gpt-2", "llama-spm", "deepseek-llm", "starcoder"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace sluice
