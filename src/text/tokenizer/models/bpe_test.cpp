#include "text/tokenizer/models/bpe.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "text/tokenizer/utf8.h"

namespace sluice {
namespace {

/// The definition, written down: merge the leftmost pair of lowest rank until there is none.
std::vector<std::string> merge_naively(std::vector<std::string> symbols,
                                       const std::unordered_map<std::string, uint32_t>& rank_of_pair) {
  while (true) {
    size_t best = symbols.size();
    uint32_t best_rank = UINT32_MAX;
    for (size_t i = 0; i + 1 < symbols.size(); ++i) {
      const auto it = rank_of_pair.find(symbols[i] + " " + symbols[i + 1]);
      if (it != rank_of_pair.end() && it->second < best_rank) best = i, best_rank = it->second;
    }
    if (best == symbols.size()) return symbols;
    symbols[best] += symbols[best + 1];
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(best) + 1);
  }
}

std::vector<MergeText> views(const std::vector<std::pair<std::string, std::string>>& merges) {
  return {merges.begin(), merges.end()};
}

TEST(Bpe, RandomRankedMergesEqualTheDefinition) {
  Rng rng(3);
  for (int round = 0; round < 200; ++round) {
    BpeSpec spec;
    std::vector<std::string> symbols = {"a", "b", "c", "d"};
    for (size_t i = 0; i < symbols.size(); ++i) spec.pieces.add(symbols[i], static_cast<TokenId>(i));
    std::vector<std::pair<std::string, std::string>> merges;
    std::unordered_map<std::string, uint32_t> rank_of_pair;
    for (int i = 0; i < 30; ++i) {
      const std::string left = symbols[rng.below(symbols.size())], right = symbols[rng.below(symbols.size())];
      if (!rank_of_pair.emplace(left + " " + right, static_cast<uint32_t>(merges.size())).second) continue;
      merges.emplace_back(left, right);
      if (spec.pieces.add(left + right, static_cast<TokenId>(symbols.size())))
        symbols.push_back(left + right);
    }
    ASSERT_TRUE(add_ranked_merges(spec, views(merges)).ok());
    const BpeModel model(std::move(spec));
    for (int text_round = 0; text_round < 5; ++text_round) {
      std::string text;
      std::vector<std::string> letters;
      for (uint64_t i = 0, n = rng.below(60) + 1; i < n; ++i)
        letters.push_back(symbols[rng.below(4)]), text += letters.back();
      std::vector<TokenId> ids;
      model.encode(text, ids);
      std::vector<std::string> found;
      for (const TokenId id : ids) found.push_back(symbols[static_cast<size_t>(id)]);
      ASSERT_EQ(found, merge_naively(letters, rank_of_pair)) << text;
    }
  }
}

TEST(Bpe, ScoresMergeAnyNeighboursThatMakeAPiece) {
  BpeSpec spec;
  spec.unit = BpeSpec::Unit::character;
  spec.internal_from = 10;
  spec.unknown = 9;
  spec.fuse_unknown = true;
  // "x" is in pieces only, never alone in the vocabulary.
  const std::vector<std::pair<std::string, float>> scored = {{"a", -9},  {"b", -9}, {"ab", -1},
                                                             {"ba", -1}, {"ax", 0}, {"aba", -2}};
  for (size_t i = 0; i < scored.size(); ++i) spec.pieces.add(scored[i].first, static_cast<TokenId>(i));
  add_scored_merges(spec, scored);
  const BpeModel model(std::move(spec));
  const auto encode = [&](std::string_view text) {
    std::vector<TokenId> ids;
    model.encode(text, ids);
    return ids;
  };
  EXPECT_EQ(encode("abab"), (std::vector<TokenId>{2, 2}));  // equal scores: the leftmost first
  EXPECT_EQ(encode("bab"), (std::vector<TokenId>{3, 1}));
  EXPECT_EQ(encode("aba"), (std::vector<TokenId>{5}));
  EXPECT_EQ(encode("bax"), (std::vector<TokenId>{1, 4}));
  EXPECT_EQ(encode("axx\u00e9zb"), (std::vector<TokenId>{4, 9, 1}));  // one unknown for the run
  EXPECT_FALSE(model.find("x"));
}

TEST(Bpe, UnusedPiecesFallApartAndForbiddenOnesAreNotMade) {
  const std::vector<std::pair<std::string, float>> scored = {{"a", -9}, {"b", -9}, {"ab", -1}, {"abab", 0}};
  const auto encode = [&](bool unused, bool forbidden) {
    BpeSpec spec;
    spec.unit = BpeSpec::Unit::character;
    spec.internal_from = 4;
    for (size_t i = 0; i < scored.size(); ++i) spec.pieces.add(scored[i].first, static_cast<TokenId>(i));
    add_scored_merges(spec, scored);
    if (unused) spec.unused = {3};
    if (forbidden) spec.forbidden = {3, 0};
    std::vector<TokenId> ids;
    BpeModel(std::move(spec)).encode("ababa", ids);
    return ids;
  };
  EXPECT_EQ(encode(false, false), (std::vector<TokenId>{3, 0}));
  EXPECT_EQ(encode(true, false), (std::vector<TokenId>{2, 2, 0}));
  EXPECT_EQ(encode(false, true), (std::vector<TokenId>{2, 2, 0}));  // a single character is never forbidden
}

TEST(Bpe, MergesMustNameTokens) {
  BpeSpec spec;
  spec.pieces.add("a", 0);
  spec.pieces.add("b", 1);
  const Status status = add_ranked_merge(spec, "ab", 1);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().message, "merge 0 ('a' and 'b'): the result is not in the vocabulary");
}

TEST(Bpe, AMegabyteInOnePiece) {
  BpeSpec spec;
  std::vector<std::pair<std::string, std::string>> merges;
  for (std::string text = "a"; text.size() <= 64; text += text) {
    spec.pieces.add(text, static_cast<TokenId>(spec.pieces.size()));
    if (text.size() > 1) merges.emplace_back(text.substr(text.size() / 2), text.substr(text.size() / 2));
  }
  ASSERT_TRUE(add_ranked_merges(spec, views(merges)).ok());
  const BpeModel model(std::move(spec));
  std::vector<TokenId> ids;
  model.encode(std::string((1 << 20) + 3, 'a'), ids);
  EXPECT_EQ(ids.size(), (1u << 20) / 64 + 2);
}

}  // namespace
}  // namespace sluice
