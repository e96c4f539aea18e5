#include "text/tokenizer/pre_tokenizers/pre_tokenizer.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "text/tokenizer/added_tokens.h"
#include "text/tokenizer/normalizers/normalizer.h"
#include "text/tokenizer/pre_tokenizers/pre_patterns.h"

namespace sluice {
namespace {

using nlohmann::json;

std::vector<std::string> cut(const std::string& description, const std::string& text, bool at_start = true) {
  auto parsed = parse_pre_tokenizer(json::parse(description));
  if (!parsed.ok()) return {"error: " + parsed.error().message};
  const Pieces pieces = parsed->apply(text, at_start);
  std::vector<std::string> out;
  size_t begin = 0;
  for (const size_t end : pieces.ends) out.push_back(pieces.text.substr(begin, end - begin)), begin = end;
  EXPECT_EQ(begin, pieces.text.size());
  return out;
}

using Strings = std::vector<std::string>;

// The example of the Hugging Face documentation of SplitDelimiterBehavior.
TEST(PreTokenizer, SplitBehaviors) {
  const auto split = [](const std::string& behavior, const std::string& rest = "") {
    return cut(R"({"type":"Split","pattern":{"String":"-"},"behavior":")" + behavior + "\"" + rest + "}",
               "the-final--countdown");
  };
  EXPECT_EQ(split("Removed"), (Strings{"the", "final", "countdown"}));
  EXPECT_EQ(split("Isolated"), (Strings{"the", "-", "final", "-", "-", "countdown"}));
  EXPECT_EQ(split("MergedWithPrevious"), (Strings{"the-", "final-", "-", "countdown"}));
  EXPECT_EQ(split("MergedWithNext"), (Strings{"the", "-final", "-", "-countdown"}));
  EXPECT_EQ(split("Contiguous"), (Strings{"the", "-", "final", "--", "countdown"}));
  EXPECT_EQ(split("Removed", R"(,"invert":true)"), (Strings{"-", "-", "-"}));
  EXPECT_EQ(split("Sideways"), (Strings{"error: pre_tokenizer (Split): behavior 'Sideways' (known: Isolated, Removed, MergedWithPrevious, "
                     "MergedWithNext, Contiguous)"}));
}

TEST(PreTokenizer, KindsOfTokenizerJson) {
  EXPECT_EQ(cut(R"({"type":"Digits","individual_digits":true})", "a12b"), (Strings{"a", "1", "2", "b"}));
  EXPECT_EQ(cut(R"({"type":"Digits","individual_digits":false})", "a12b"), (Strings{"a", "12", "b"}));
  EXPECT_EQ(cut(R"({"type":"WhitespaceSplit"})", " a  b "), (Strings{"a", "b"}));
  EXPECT_EQ(cut(R"({"type":"Whitespace"})", "it's  ok"), (Strings{"it", "'", "s", "ok"}));
  EXPECT_EQ(cut(R"({"type":"Punctuation"})", "a+b!?"), (Strings{"a", "+", "b", "!", "?"}));
  EXPECT_EQ(cut(R"({"type":"ByteLevel","add_prefix_space":true})", "it's 10"), (Strings{" it", "'s", " 10"}));
  EXPECT_EQ(cut(R"({"type":"Sequence","pretokenizers":[{"type":"Digits","individual_digits":true},
                    {"type":"ByteLevel","add_prefix_space":false}]})",
                "a 12"),
            (Strings{"a", " ", "1", "2"}));
  const std::string first = R"({"type":"Metaspace","replacement":"_","prepend_scheme":"first"})";
  EXPECT_EQ(cut(first, "a b"), (Strings{"_a", "_b"}));
  EXPECT_EQ(cut(first, "a b", false), (Strings{"a", "_b"}));
  EXPECT_EQ(cut(R"({"type":"Metaspace","replacement":"_","prepend_scheme":"always","split":false})", "a b", false),
            (Strings{"_a_b"}));
  EXPECT_EQ(cut("null", "a b"), (Strings{"a b"}));
  EXPECT_NE(cut(R"({"type":"Bert"})", "")[0].find("'Bert' (known: "), std::string::npos);
  EXPECT_NE(cut(R"({"type":"Split","pattern":{"Regex":"(a"},"behavior":"Isolated"})", "")[0].find("pattern '(a'"),
            std::string::npos);
}

TEST(PreTokenizer, WhiteSpaceIsUnicodes) {
  const std::string split = R"({"type":"Split","pattern":{"Regex":"[x\\s]+"},"behavior":"Isolated"})";
  EXPECT_EQ(cut(split, "a\u180eb\u3000x\u0085c"), (Strings{"a\u180eb", "\u3000x\u0085", "c"}));
}

/// A circled ideograph is common to scripts, though Chinese has the most use for it.
TEST(PreTokenizer, AScriptIsItsOwnCharacters) {
  const auto split = [](const std::string& pattern) {
    return cut(json({{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}}).dump(), "a\u32a7\u4e2d\u4e2db");
  };
  EXPECT_EQ(split(R"(\p{Han}+)"), (Strings{"a\u32a7", "\u4e2d\u4e2d", "b"}));
  EXPECT_EQ(split(R"([\p{Han}b]+)"), (Strings{"a\u32a7", "\u4e2d\u4e2db"}));
  EXPECT_EQ(split(R"([\p{L}&&[^\p{Han}]]+)"), (Strings{"a", "\u32a7\u4e2d\u4e2d", "b"}));
  EXPECT_EQ(split(R"(\P{Han}+)"), (Strings{"a\u32a7", "\u4e2d\u4e2d", "b"}));
  EXPECT_EQ(split(R"(\p{^Han}+)"), (Strings{"a\u32a7", "\u4e2d\u4e2d", "b"}));
  EXPECT_EQ(split(R"(\p{Lo}+)"), (Strings{"a\u32a7", "\u4e2d\u4e2d", "b"}));
}

TEST(PreTokenizer, AHostilePatternEnds) {
  const Strings pieces =
      cut(R"({"type":"Split","pattern":{"Regex":"(a+)+$"},"behavior":"Isolated"})", std::string(40, 'a') + "b");
  std::string all;
  for (const std::string& piece : pieces) all += piece;
  EXPECT_EQ(all, std::string(40, 'a') + "b");
}

TEST(PreTokenizer, EveryNamedPatternCompilesAndKeepsTheText) {
  const auto unknown = find_pre_patterns("no such name");
  ASSERT_FALSE(unknown.ok());
  const std::string list = unknown.error().message;
  size_t at = list.find("known: ") + 7, names = 0;
  while (at < list.size()) {
    const size_t end = list.find_first_of(",)", at);
    const std::string name = list.substr(at, end - at);
    const auto pre = find_pre_patterns(name);
    ASSERT_TRUE(pre.ok()) << name;
    const auto tokenizer = byte_level_pre_tokenizer(pre->patterns);
    ASSERT_TRUE(tokenizer.ok()) << name << ": " << tokenizer.error().message;
    const std::string text = "Hello, y'all's 12345 \n\n  \u4e2d\u6587 \u00e9t\u00e9  ";
    EXPECT_EQ(tokenizer->apply(text, true).text, text);
    at = end + 2;
    ++names;
  }
  EXPECT_EQ(names, 92u);  // llama.cpp's 91, and gpt2
}

std::string normal(const std::string& description, const std::string& text, bool at_start = true) {
  auto parsed = parse_normalizer(json::parse(description));
  return parsed.ok() ? parsed->apply(text, at_start) : "error: " + parsed.error().message;
}

TEST(Normalizer, KindsOfTokenizerJson) {
  EXPECT_EQ(normal(R"({"type":"NFC"})", "e\u0301"), "\u00e9");
  EXPECT_EQ(normal(R"({"type":"NFD"})", "\u00e9"), "e\u0301");
  EXPECT_EQ(normal(R"({"type":"NFKC"})", "\ufb01\u00b2"), "fi2");
  EXPECT_EQ(normal(R"({"type":"NFKD"})", "\u00c5\u2460"), "A\u030a1");
  EXPECT_EQ(normal(R"({"type":"Strip","strip_left":true,"strip_right":false})", "\u3000 a "), "a ");
  EXPECT_EQ(normal(R"({"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"_"},
                       {"type":"Replace","pattern":{"String":" "},"content":"_"}]})",
                   "a b"),
            "_a_b");
  EXPECT_EQ(normal(R"({"type":"Replace","pattern":{"Regex":" {2,}"},"content":"+"})", "a  b c   "), "a+b c+");
  EXPECT_EQ(normal(R"({"type":"Prepend","prepend":"_"})", ""), "");
  EXPECT_EQ(normal(R"({"type":"Lowercase"})", "ÀB\u0130ς"), "àbi\u0307ς");
  EXPECT_EQ(normal(R"({"type":"StripAccents"})", "e\u0301é"), "eé");
  EXPECT_EQ(normal(R"({"type":"Nmt"})", "a\tb\u200bc\x01"), "a b c");
  EXPECT_EQ(normal(R"({"type":"ByteLevel"})", "é "), "\u00c3\u00a9\u0120");
  EXPECT_EQ(normal(R"({"type":"BertNormalizer"})", "Ünï\u00a0中\x01"), "uni  中 ");
  EXPECT_NE(normal(R"({"type":"Uppercase"})", "").find("'Uppercase' (known: "), std::string::npos);
}

TEST(AddedTokens, LongestLeftmostWithItsFlags) {
  const AddedTokenMatcher matcher({{.id = 1, .content = "<a>", .special = true},
                                   {.id = 2, .content = "<a><b>", .special = true},
                                   {.id = 3, .content = "word", .single_word = true},
                                   {.id = 4, .content = "<m>", .special = true, .lstrip = true, .rstrip = true},
                                   {.id = 5, .content = "  "}});
  using Found = std::vector<std::tuple<size_t, size_t, TokenId>>;
  const auto all = [&](std::string_view text, std::vector<TextRange> trusted) {
    Found found;
    std::span<const TextRange> ranges = trusted;
    auto match = matcher.find(text, 0, ranges);
    for (; match; match = matcher.find(text, match->end, ranges))
      found.emplace_back(match->begin, match->end, match->id);
    return found;
  };
  const auto trust_all = [&](std::string_view text) { return all(text, {{0, text.size()}}); };
  EXPECT_EQ(trust_all("x<a><b><a>"), (Found{{1, 7, 2}, {7, 10, 1}}));
  EXPECT_EQ(trust_all("words word sword"), (Found{{6, 10, 3}}));
  EXPECT_EQ(trust_all("a <m>\n b"), (Found{{1, 7, 4}}));
  EXPECT_EQ(all("<a>  <m>", {}), (Found{{3, 5, 5}}));
  // A control token must lie inside one trusted range; a shorter one inside it still counts.
  EXPECT_EQ(all("<a><b>", {{0, 5}}), (Found{{0, 3, 1}}));
  EXPECT_EQ(all("<a><b>", {{0, 1}, {2, 6}}), (Found{}));
}

}  // namespace
}  // namespace sluice
