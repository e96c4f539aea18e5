#include "serve/openai/json_text.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/rng.h"

namespace sluice {
namespace {

TEST(ParseJson, ReadsWhatTheLibraryReads) {
  const char* texts[] = {"null", " [1, -2, 3.5, \"x\\u00e9\", true, {}, []] ",
                         R"({"b": {"y": [1, {"z": null}]}, "a": 18446744073709551615})"};
  for (const char* text : texts) {
    const auto value = parse_json(text);
    ASSERT_TRUE(value.ok()) << value.error().message;
    EXPECT_EQ(dump_json(*value), Json::parse(text).dump());
  }
}

TEST(ParseJson, RefusesWithAReason) {
  const std::pair<std::string, const char*> cases[] = {
      {"", "unexpected end"},
      {"{\"a\": 1", "line 1"},
      {"{\"a\": 1} x", "line 1"},
      {"{\"a\": NaN}", "line 1"},
      {"{\"a\": 1, \"b\": {\"c\": 1, \"c\": 2}}", "\"c\" (a string) appears twice"},
      {"\"\xff\"", "UTF-8"},
      {"\"\\ud800\"", "surrogate"},
      {"[1e999]", "number overflow"},
      {std::string(100'000, '['), "nested deeper"},
      {std::string(65, '[') + std::string(65, ']'), "nested deeper"},
      {std::string("\"a\0b\"", 5), "control character"},
  };
  for (const auto& [text, reason] : cases) {
    const auto value = parse_json(text);
    ASSERT_FALSE(value.ok()) << text.substr(0, 40);
    EXPECT_EQ(value.error().code, ErrorCode::invalid_argument);
    EXPECT_NE(value.error().message.find(reason), std::string::npos) << value.error().message;
  }
  EXPECT_TRUE(parse_json(std::string(64, '[') + std::string(64, ']')).ok());
  std::string many = "[";
  for (size_t i = 0; i < kMaxJsonValues; ++i) many += "0,";
  EXPECT_FALSE(parse_json(many + "0]").ok());
}

TEST(ParseJson, SurvivesDamage) {
  Rng rng(5);
  const std::string good =
      R"({"model": "m", "messages": [{"role": "user", "content": [{"type": "text", "text": "h\u00e9"}]}], "n": 1e2})";
  for (int round = 0; round < 20'000; ++round) {
    std::string text = good;
    for (uint64_t n = 1 + rng.below(3); n > 0; --n) {
      const size_t at = rng.below(text.size());
      if (rng.below(3) == 0)
        text.erase(at, 1 + rng.below(5));
      else
        text[at] = static_cast<char>(rng.below(256));
      if (text.empty()) text = "x";
    }
    const auto value = parse_json(text);
    if (value.ok()) {
      EXPECT_TRUE(parse_json(dump_json(*value)).ok());
    }
  }
}

TEST(DescribeJson, IsShortAndValid) {
  EXPECT_EQ(describe_json(Json("hot")), "\"hot\" (a string)");
  EXPECT_EQ(describe_json(Json(2.5)), "2.5 (a number)");
  EXPECT_EQ(describe_json(Json::array({1, 2})), "an array of 2");
  std::string accents;
  for (int i = 0; i < 100; ++i) accents += "\u00e9";
  const std::string text = describe_json(Json(accents));
  EXPECT_LT(text.size(), 120u);
  EXPECT_TRUE(parse_json(dump_json(Json(text))).ok());
}

}  // namespace
}  // namespace sluice
