// Encoding takes time that is linear in the text, whatever the text is. Steps are counted (step_count.h), not seconds: four
// times the text may take four times the steps, and a few for what happens once.

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "text/tokenizer/formats/gguf_model.h"
#include "text/tokenizer/formats/ranked_tokens.h"
#include "text/tokenizer/load_tokenizer.h"
#include "text/tokenizer/models/bpe.h"
#include "text/tokenizer/models/longest_match.h"
#include "text/tokenizer/models/plamo.h"
#include "text/tokenizer/models/unigram.h"
#include "text/tokenizer/models/word_level.h"
#include "text/tokenizer/models/word_piece.h"
#include "text/tokenizer/pre_tokenizers/scanners.h"
#include "text/tokenizer/pre_tokenizers/pre_patterns.h"
#include "text/tokenizer/step_count.h"
#include "text/tokenizer/test_files.h"

namespace sluice {
namespace {

const char* const kUnits[] = {"a", " ", "7", "ab", "\n", "é", "A", "!", "\u0301\u0323", "中", " a", "aA", "'", "\t\r\n", "a1", " \n", "x ", "\u2581"};

std::string repeated(std::string_view unit, size_t bytes) {
  std::string text;
  while (text.size() < bytes) text += unit;
  return text;
}

/// Steps of `work` on so many bytes of each unit, against four times as many.
template <class F>
void expect_linear(const std::string& what, size_t bytes, double steps_per_byte, F&& work) {
  for (const char* unit : kUnits) {
    uint64_t steps[2];
    for (const size_t i : {0, 1}) {
      const std::string text = repeated(unit, bytes << (2 * i)) + "x";
      const uint64_t before = tokenizer_steps;
      work(text);
      steps[i] = tokenizer_steps - before;
    }
    EXPECT_LE(static_cast<double>(steps[1]), 4.05 * static_cast<double>(steps[0]) + 4096) << what << " of '" << unit << "'";
    EXPECT_LE(static_cast<double>(steps[1]), steps_per_byte * static_cast<double>(bytes << 2) + 4096) << what << " of '" << unit << "'";
  }
}

TEST(LinearTime, MergingOfRepeatedAndPathologicalText) {
  BpeSpec spec;
  std::vector<std::pair<std::string, std::string>> merges;
  const auto piece = [&](const std::string& text) { spec.pieces.add(text, static_cast<TokenId>(spec.pieces.size())); };
  for (int b = 0; b < 256; ++b) piece(std::string(1, static_cast<char>(b)));
  const auto merge = [&](const std::string& left, const std::string& right) {
    piece(left + right);
    merges.emplace_back(left, right);
  };
  for (std::string text = "a"; text.size() < 64; text += text) merge(text, text);
  // A chain in which each merge makes room for one of a lower rank: what was begun is put aside again and again.
  for (int n = 40; n > 1; --n) merges.insert(merges.begin(), {"b" + std::string(static_cast<size_t>(n) - 1, 'c'), "c"});
  for (int n = 1; n <= 40; ++n) piece("b" + std::string(static_cast<size_t>(n), 'c'));
  merges.emplace_back("b", "c");
  merge("\xc3", "\xa9");
  merge("é", "é");
  const std::vector<MergeText> views(merges.begin(), merges.end());
  const Status added = add_ranked_merges(spec, views);
  ASSERT_TRUE(added.ok()) << added.error().message;
  const BpeModel model(std::move(spec));
  std::vector<TokenId> ids;
  const auto encode = [&](const std::string& text) {
    ids.clear();
    model.encode(text, ids);
  };
  expect_linear("merging", 1 << 18, 60, encode);
  const std::string chain = "b" + std::string(40, 'c');
  uint64_t steps[2];
  for (const size_t i : {0, 1}) {
    const uint64_t before = tokenizer_steps;
    encode(repeated(chain, size_t{1} << (18 + 2 * i)));
    steps[i] = tokenizer_steps - before;
  }
  EXPECT_LE(static_cast<double>(steps[1]), 4.05 * static_cast<double>(steps[0]));
  EXPECT_LE(steps[1], uint64_t{60} << 20);
}

TEST(LinearTime, Unigram) {
  UnigramSpec spec;
  spec.unknown = 0;
  for (int i = 1; i <= 32; ++i) spec.pieces.push_back({std::string(static_cast<size_t>(i), 'a'), -1.0 * i, i});
  spec.least_score = -40;
  const UnigramModel model(std::move(spec));
  std::vector<TokenId> ids;
  expect_linear("unigram", 1 << 18, 40, [&](const std::string& text) {
    ids.clear();
    model.encode(text, ids);
  });
}

TEST(LinearTime, Plamo) {
  PlamoSpec spec;
  spec.bytes.fill(0);
  for (int i = 1; i <= 32; ++i) spec.pieces.push_back({std::string(static_cast<size_t>(i), 'a'), -1.0f * static_cast<float>(i), i});
  const PlamoModel model(std::move(spec));
  std::vector<TokenId> ids;
  expect_linear("plamo", 1 << 18, 40, [&](const std::string& text) {
    ids.clear();
    model.encode(text, ids);
  });
}

/// A match that fails late is tried again from the next place, so a step may look at all of a long token again.
TEST(LinearTime, LongestMatch) {
  std::vector<std::pair<std::string, TokenId>> tokens;
  for (int b = 0; b < 256; ++b) tokens.emplace_back(std::string(1, static_cast<char>(b)), b);
  for (const char* unit : kUnits) tokens.emplace_back(repeated(unit, 40) + "y", 256);  // nearly matches everywhere
  const LongestMatchModel model(tokens, std::nullopt);
  std::vector<TokenId> ids;
  expect_linear("the longest match", 1 << 18, 60, [&](const std::string& text) {
    ids.clear();
    model.encode(text, ids);
  });
}

TEST(LinearTime, WordPiece) {
  for (const size_t longest_word : {size_t{100}, SIZE_MAX}) {
    WordPieceSpec spec;
    spec.unknown = 0;
    spec.longest_word = longest_word;
    for (const char* unit : kUnits)
      for (const std::string prefix : {"", "##"})
        for (const std::string& text : {std::string(unit), repeated(unit, 40) + "y"}) spec.pieces.emplace_back(prefix + text, 1);
    const WordPieceModel model(std::move(spec));
    std::vector<TokenId> ids;
    expect_linear("WordPiece", 1 << 18, 60, [&](const std::string& text) {
      ids.clear();
      model.encode(text, ids);
    });
  }
}

TEST(LinearTime, WordLevel) {
  PieceTable words;
  for (const char* unit : kUnits) words.add(unit, 1);
  const WordLevelModel model(std::move(words), 0);
  std::vector<TokenId> ids;
  expect_linear("WordLevel", 1 << 18, 2, [&](const std::string& text) {
    ids.clear();
    model.encode(text, ids);
  });
}

TEST(LinearTime, MergesOfRankedTokens) {
  uint64_t steps[2];
  for (const size_t i : {0, 1}) {  // every length up to n: a file of n * n / 2 bytes, and n * n * n steps without a bound
    RankedTokens ranked{.tokens = {"a"}};
    for (size_t n = 2; n <= (size_t{800} << i); ++n) ranked.tokens.emplace_back(n, 'a');
    GgufVocab vocab;
    const uint64_t before = tokenizer_steps;
    const Status added = add_ranked_tokens(ranked, vocab);
    steps[i] = tokenizer_steps - before;
    ASSERT_FALSE(added.ok());
    EXPECT_EQ(added.error().code, ErrorCode::resource_exhausted);
    EXPECT_NE(added.error().message.find("its tokens are too long to find what merges them: at rank "), std::string::npos) << added.error().message;
  }
  EXPECT_LE(static_cast<double>(steps[1]), 4.05 * static_cast<double>(steps[0]));
  RankedTokens few{.tokens = {"a"}};
  for (size_t n = 2; n <= 256; ++n) few.tokens.emplace_back(n, 'a');
  GgufVocab vocab;
  ASSERT_TRUE(add_ranked_tokens(few, vocab).ok());
  EXPECT_EQ(vocab.merges.size(), 255u);
  EXPECT_EQ(vocab.merges[1], "aa a");
}

TEST(LinearTime, NormalForms) {
  for (const NormalForm form : {NormalForm::nfc, NormalForm::nfd, NormalForm::nfkc, NormalForm::nfkd}) {
    const Normalizer::Step step = normal_form(form);
    expect_linear("a normal form", 1 << 16, 8, [&](std::string text) { step(text, true); });
  }
}

TEST(LinearTime, WholeTokenizers) {
  std::vector<std::string> directories = {test::repository_data("tok512")};
  for (const char* name : {"unigram-sp", "unigram-sp-bytes"}) directories.push_back(test::repository_data(name));
  for (const std::string& directory : directories) {
    const auto tokenizer = load_tokenizer_directory(directory);
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
    expect_linear(directory, 1 << 16, 120, [&](const std::string& text) { (*tokenizer)->encode(text, {.parse_special = true}); });
  }
}

/// Matching is counted by a pattern compiled to be counted. Digits in groups have a scanner of their own instead.
TEST(LinearTime, EveryNamedPreTokenizer) {
  std::vector<std::string_view> seen;
  for (const std::string_view name : pre_pattern_names()) {
    const auto pre = find_pre_patterns(name);
    ASSERT_TRUE(pre.ok()) << pre.error().message;
    for (const std::string_view pattern : pre->patterns) {
      if (std::find(seen.begin(), seen.end(), pattern) != seen.end()) continue;
      seen.push_back(pattern);
      PreTokenizer::Step step = scanner_for(pattern);
      if (!step) {
        auto regex = Regex::compile(pattern, true);
        ASSERT_TRUE(regex.ok()) << name << ": " << regex.error().message;
        step = split_on(std::move(regex).value(), SplitBehavior::isolated);
      }
      expect_linear(std::string(name), 1 << 12, 120, [&](const std::string& text) {
        Pieces pieces{text, {text.size()}};
        step(pieces);
      });
    }
  }
  EXPECT_GT(seen.size(), 30u);
}

}  // namespace
}  // namespace sluice
