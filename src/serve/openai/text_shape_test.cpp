#include "serve/openai/text_shape.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "text/tokenizer/load_tokenizer.h"

namespace sluice {
namespace {

// Letters, with [CLS] 1 before a text and [SEP] 2 after it. `add_sep`: whether another stands between two, where that is said.
std::unique_ptr<Tokenizer> letters(std::optional<bool> add_sep = {}) {
  GgufVocab vocab;
  vocab.model = "llama";
  const auto add = [&](const std::string& token, GgufTokenType type, float score = 0) {
    vocab.tokens.push_back(token);
    vocab.token_types.push_back(static_cast<int32_t>(type));
    vocab.scores.push_back(score);
  };
  add("<unk>", GgufTokenType::unknown);
  add("[CLS]", GgufTokenType::control);
  add("[SEP]", GgufTokenType::control);
  for (const char* text : {"a", "b", "c", "d", " "}) add(text[0] == ' ' ? "▁" : text, GgufTokenType::normal, -1);
  vocab.bos = 1, vocab.eos = 2, vocab.unk = 0;
  vocab.add_bos = vocab.add_eos = true;
  vocab.sep = 2, vocab.add_sep = add_sep;
  vocab.add_space_prefix = false;
  auto made = make_gguf_tokenizer(vocab);
  EXPECT_TRUE(made.ok()) << (made.ok() ? "" : made.error().message);
  return made.ok() ? std::move(*made) : nullptr;
}

using Ids = std::vector<TokenId>;

TEST(TextShape, PairsHaveSeparatorsAsTheModelWasTrained) {
  const auto tokenizer = letters();
  ASSERT_NE(tokenizer, nullptr);
  const auto bert = TextShape(*tokenizer, {.separators = 1}).pair("ab", "cd", "", 0);
  ASSERT_TRUE(bert.ok());
  EXPECT_EQ(bert->tokens, (Ids{1, 3, 4, 2, 5, 6, 2}));
  EXPECT_EQ(bert->second, 4);
  const auto roberta = TextShape(*tokenizer, {.separators = 2}).pair("ab", "cd", "", 0);
  ASSERT_TRUE(roberta.ok());
  EXPECT_EQ(roberta->tokens, (Ids{1, 3, 4, 2, 2, 5, 6, 2}));
  EXPECT_EQ(roberta->second, 5);
}

TEST(TextShape, WhatTheTokenizerSaysOfPairsCounts) {
  for (const bool twice : {false, true}) {
    const auto tokenizer = letters(twice);
    ASSERT_NE(tokenizer, nullptr);
    for (const int separators : {1, 2}) {
      const auto pair = TextShape(*tokenizer, {.separators = separators}).pair("ab", "cd", "", 0);
      ASSERT_TRUE(pair.ok());
      EXPECT_EQ(pair->tokens, twice ? (Ids{1, 3, 4, 2, 2, 5, 6, 2}) : (Ids{1, 3, 4, 2, 5, 6, 2}));
      EXPECT_EQ(pair->second, -1);  // of one type
    }
  }
}

TEST(TextShape, WhatIsCutIsTheEndOfTheTextBeforeItsLastToken) {
  const auto tokenizer = letters();
  ASSERT_NE(tokenizer, nullptr);
  const TextShape shape(*tokenizer, {});
  EXPECT_EQ(shape.single("abcd", true, 0).tokens, (Ids{1, 3, 4, 5, 6, 2}));
  EXPECT_EQ(shape.single("abcd", true, 6).tokens, (Ids{1, 3, 4, 5, 6, 2}));
  EXPECT_EQ(shape.single("abcd", true, 4).tokens, (Ids{1, 3, 4, 2}));
  EXPECT_EQ(shape.single("abcd", false, 3).tokens, (Ids{3, 4, 5}));
  EXPECT_EQ(shape.single("abcd", true, 1).tokens, (Ids{2}));
  EXPECT_EQ(shape.pair("ab", "cdcd", "", 7)->tokens, (Ids{1, 3, 4, 2, 5, 6, 2}));
  EXPECT_EQ(shape.pair("ab", "cdcd", "", 6)->tokens, (Ids{1, 3, 4, 2, 5, 2}));
  EXPECT_FALSE(shape.pair("ab", "cdcd", "", 5).ok());
}

TEST(TextShape, PromptsTakeTextsAsTextAndNotAsTheirOwnMarks) {
  const auto tokenizer = letters();
  ASSERT_NE(tokenizer, nullptr);
  // A name that is none stands as it is, and what a text holds is not filled in again: both are letters of which most are unknown.
  const auto whole = TextShape(*tokenizer, {.prompt = "a{query}b{document}a{other}"}).pair("{document}", "cd", "", 0);
  ASSERT_TRUE(whole.ok());
  EXPECT_EQ(whole->tokens, tokenizer->encode("a{document}bcda{other}", {.add_special = false}));
  EXPECT_EQ(TextShape(*tokenizer, {.prompt = "a{query}b{document}a"}).pair("c", "d", "", 0)->tokens, (Ids{3, 5, 4, 6, 3}));
  // Control tokens that a client spells are text.
  const auto spelled = TextShape(*tokenizer, {.prompt = "[SEP]{query}{document}"}).pair("[SEP]", "a", "", 0);
  EXPECT_EQ(std::ranges::count(spelled->tokens, 2), 1);  // the prompt's
}

}  // namespace
}  // namespace sluice
