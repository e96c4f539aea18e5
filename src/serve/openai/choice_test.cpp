#include "serve/openai/choice.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "text/tokenizer/load_tokenizer.h"

namespace sluice {
namespace {

class ChoiceTest : public ::testing::Test {
 protected:
  ChoiceTest() {
    auto loaded = load_tokenizer_directory(std::string(SLUICE_SOURCE_DIR) + "/tests/data/tokenizers/tok512");
    CHECK(loaded.ok(), "{}", loaded.error().message);
    tokenizer_ = std::move(*loaded);
  }
  static ChoiceOptions options(std::vector<std::string> stops) {
    ChoiceOptions o;
    o.stop = std::make_shared<const StopStrings>(std::move(stops));
    o.logprobs = true;
    return o;
  }
  static std::vector<SampledToken> sampled(const std::vector<TokenId>& ids) {
    std::vector<SampledToken> tokens;
    for (const TokenId id : ids) tokens.push_back({id, -1.0f, {}});
    return tokens;
  }
  std::unique_ptr<Tokenizer> tokenizer_;
};

TEST_F(ChoiceTest, AnyCutGivesTheSameAnswer) {
  Rng rng(17);
  for (int round = 0; round < 500; ++round) {
    std::vector<TokenId> ids;
    for (int i = 0; i < 40; ++i) ids.push_back(static_cast<TokenId>(3 + rng.below(509)));  // bytes and pieces
    const std::string whole = tokenizer_->decode(ids, {true, false});
    const size_t at = rng.below(whole.size());
    ChoiceOptions o = options({whole.substr(at, 1 + rng.below(4)), "zzzz"});
    o.include_stop_in_output = round % 2 == 0;
    o.min_tokens = round % 3 == 0 ? 10 : 0;
    std::string text[2];
    int tokens[2];
    for (const bool in_pieces : {false, true}) {
      Choice choice(*tokenizer_, o);
      const auto all = sampled(ids);
      std::vector<LogprobEntry> entries;
      for (size_t i = 0; i < all.size() && !choice.ended();) {
        const size_t n = in_pieces ? std::min(all.size() - i, 1 + rng.below(4)) : all.size();
        choice.take(std::span(all).subspan(i, n), i + n == all.size() ? FinishReason::length : FinishReason::none);
        text[in_pieces] += choice.take_text();
        for (LogprobEntry& e : choice.take_logprobs()) entries.push_back(std::move(e));
        i += n;
      }
      ASSERT_TRUE(choice.ended());
      ASSERT_EQ(static_cast<int>(entries.size()), choice.tokens());
      tokens[in_pieces] = choice.tokens();
      if (choice.stopped_by_text()) {
        ASSERT_EQ(choice.finish(), FinishReason::stop);
      } else {
        ASSERT_EQ(text[in_pieces], whole);
      }
    }
    ASSERT_EQ(text[0], text[1]);
    ASSERT_EQ(tokens[0], tokens[1]);
    ASSERT_TRUE(whole.starts_with(text[0]));
  }
}

TEST_F(ChoiceTest, TheTokenThatEndsItIsNoPartOfTheText) {
  const auto ids = tokenizer_->encode("once upon", {false, false});
  ASSERT_GE(ids.size(), 2u);
  for (const bool include : {false, true}) {
    ChoiceOptions o = options({});
    o.stop_token_ids = {ids.back()};
    o.include_stop_in_output = include;
    Choice choice(*tokenizer_, o);
    choice.take(sampled(ids), FinishReason::stop);
    const std::vector<TokenId> shown(ids.begin(), ids.end() - (include ? 0 : 1));
    EXPECT_EQ(choice.take_text(), tokenizer_->decode(shown, {true, false}));
    EXPECT_EQ(choice.stop_token(), ids.back());
    EXPECT_EQ(choice.tokens(), static_cast<int>(ids.size()));
  }
}

TEST_F(ChoiceTest, OffsetsPointIntoTheText) {
  const auto ids = tokenizer_->encode("h\u00e9llo w\u00f6rld and more", {false, false});
  Choice choice(*tokenizer_, options({}), 7);
  choice.take(sampled(ids), FinishReason::length);
  const auto entries = choice.take_logprobs();
  ASSERT_EQ(entries.size(), ids.size());
  EXPECT_EQ(entries[0].text_offset, 7u);
  for (size_t i = 1; i < ids.size(); ++i) {
    const std::vector<TokenId> before(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(i));
    Detokenizer detokenizer(*tokenizer_, {true, false});
    size_t shown = 0;
    for (const TokenId id : before) shown += count_code_points(detokenizer.push(id));
    EXPECT_EQ(entries[i].text_offset, 7 + shown);
  }
}

TEST_F(ChoiceTest, NothingComesAfterTheEnd) {
  const auto ids = tokenizer_->encode("one two three four", {false, false});
  Choice choice(*tokenizer_, options({"two"}));
  choice.take(sampled(ids), FinishReason::none);
  EXPECT_TRUE(choice.stopped_by_text());
  EXPECT_EQ(*choice.stop_string(), "two");
  const std::string text = choice.take_text();
  EXPECT_TRUE(text.ends_with("one ")) << text;
  const int tokens = choice.tokens();
  EXPECT_LT(tokens, static_cast<int>(ids.size()));
  choice.take(sampled(ids), FinishReason::cancelled);
  EXPECT_EQ(choice.take_text(), "");
  EXPECT_EQ(choice.tokens(), tokens);
  EXPECT_EQ(choice.finish(), FinishReason::stop);
}

}  // namespace
}  // namespace sluice
