// Ids equal to those of a plain implementation of the definition (tests/golden/make_plamo.py).

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "text/tokenizer/load_tokenizer.h"
#include "text/tokenizer/test_files.h"

namespace sluice {
namespace {

using nlohmann::json;

json golden_plamo2() { return json::parse(*read_file(test::repository_data("plamo2.json"))); }

GgufVocab vocabulary(const json& entry) {
  GgufVocab vocab{.model = "plamo2"};
  vocab.tokens = entry["tokens"].get<std::vector<std::string>>();
  vocab.scores = entry["scores"].get<std::vector<float>>();
  vocab.token_types = entry["types"].get<std::vector<int32_t>>();
  vocab.unk = 0, vocab.bos = 1, vocab.eos = 2, vocab.pad = 3, vocab.eot = 4;
  return vocab;
}

TEST(GgufPlamo2, EqualsTheDefinition) {
  const json document = golden_plamo2();
  size_t compared = 0;
  for (const auto& [name, entry] : document["vocabularies"].items()) {
    const auto tokenizer = make_gguf_tokenizer(vocabulary(entry));
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
    for (size_t i = 0; i < document["texts"].size(); ++i, ++compared) {
      const std::string text = document["texts"][i];
      const auto ids = (*tokenizer)->encode(text);  // nothing is put around it
      EXPECT_EQ(ids, entry["ids"][i].get<std::vector<TokenId>>()) << name << ": " << text;
      EXPECT_EQ((*tokenizer)->decode(ids), text) << name;
    }
  }
  EXPECT_EQ(compared, 4 * 72u);
}

TEST(GgufPlamo2, ControlTokensAreFoundInTrustedTextOnly) {
  const auto tokenizer = make_gguf_tokenizer(vocabulary(golden_plamo2()["vocabularies"]["logs"]));
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  const std::string text = "<|plamo:bos|>";
  EXPECT_EQ((*tokenizer)->encode(text, {.parse_special = true}), std::vector<TokenId>{1});
  EXPECT_EQ((*tokenizer)->decode((*tokenizer)->encode(text)), text);
  EXPECT_EQ((*tokenizer)->end_of_generation(), (std::vector<TokenId>{2, 4}));
  EXPECT_EQ((*tokenizer)->longest_token_bytes(), 17u);
}

TEST(GgufPlamo2, ErrorsSayWhatIsMissing) {
  const GgufVocab good = vocabulary(golden_plamo2()["vocabularies"]["logs"]);
  const auto error = [&](auto change) {
    GgufVocab vocab = good;
    change(vocab);
    const auto tokenizer = make_gguf_tokenizer(vocab);
    return tokenizer.ok() ? "" : tokenizer.error().message;
  };
  EXPECT_EQ(error([](GgufVocab&) {}), "");
  EXPECT_EQ(error([](GgufVocab& v) { v.token_types[5 + 0x41] = 1; }),
            "tokenizer: no token <0x41>, expected tokens of type byte from <0x00> to <0xFF>");
  EXPECT_NE(error([](GgufVocab& v) { v.tokens[5] = "zero"; }).find("token 5 is a byte but spelled 'zero'"), std::string::npos);
  EXPECT_NE(error([](GgufVocab& v) { v.scores.clear(); }).find("tokenizer.ggml.scores has 0 entries"), std::string::npos);
  EXPECT_NE(error([](GgufVocab& v) { v.scores[300] = NAN; }).find("the score of token 300 is not a number"), std::string::npos);
  EXPECT_EQ(error([](GgufVocab& v) { v.scores[300] = INFINITY, v.scores[301] = -1e30f, v.scores[302] = 1e30f; }), "");
}

}  // namespace
}  // namespace sluice
