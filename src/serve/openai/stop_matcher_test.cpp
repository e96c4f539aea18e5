#include "serve/openai/stop_matcher.h"

#include <gtest/gtest.h>

#include "base/rng.h"

namespace sluice {
namespace {

/// The definition: the match that ends first, and of those the longest.
struct Expected {
  std::string before, through;
  std::optional<std::string> match;
};
Expected by_brute_force(const std::string& text, const std::vector<std::string>& stops) {
  for (size_t end = 1; end <= text.size(); ++end) {
    std::optional<std::string> longest;
    for (const std::string& stop : stops)
      if (!stop.empty() && stop.size() <= end && text.compare(end - stop.size(), stop.size(), stop) == 0 &&
          (!longest || stop.size() > longest->size()))
        longest = stop;
    if (longest) return {text.substr(0, end - longest->size()), text.substr(0, end), longest};
  }
  return {text, text, std::nullopt};
}

TEST(StopMatcher, EqualsBruteForceForEveryCut) {
  Rng rng(3);
  for (int round = 0; round < 5000; ++round) {
    // A small alphabet makes borders, overlaps and stops inside of stops.
    const auto random_text = [&](size_t most) {
      std::string s;
      for (size_t n = rng.below(most + 1); s.size() < n;) s += static_cast<char>('a' + rng.below(2 + round % 2));
      return s;
    };
    std::vector<std::string> stops;
    for (uint64_t n = rng.below(4); stops.size() < n;) stops.push_back(random_text(6));
    const std::string text = random_text(40);
    const Expected want = by_brute_force(text, stops);
    const bool include = rng.below(2) == 0;
    const auto strings = std::make_shared<const StopStrings>(stops);
    StopMatcher matcher(strings);
    std::string got;
    for (size_t at = 0; at < text.size();) {
      const size_t n = rng.below(5);
      got += matcher.push(std::string_view(text).substr(at, n), include);
      // Nothing is delivered that a stop string may yet take back.
      ASSERT_TRUE((include ? want.through : want.before).starts_with(got));
      at += n;
    }
    got += matcher.finish();
    ASSERT_EQ(got, include ? want.through : want.before) << text;
    ASSERT_EQ(matcher.matched().has_value(), want.match.has_value());
    if (want.match) {
      ASSERT_EQ(strings->text(*matcher.matched()), *want.match);
    }
  }
}

TEST(StopMatcher, HoldsBackNoMoreThanItMust) {
  StopMatcher matcher(std::make_shared<const StopStrings>(std::vector<std::string>{"###", "\n\nHuman:"}));
  EXPECT_EQ(matcher.push("Hello #"), "Hello ");
  EXPECT_EQ(matcher.push("1"), "#1");
  EXPECT_EQ(matcher.push("\n"), "");
  EXPECT_EQ(matcher.push("\nHum"), "");
  EXPECT_EQ(matcher.push("pty"), "\n\nHumpty");
  EXPECT_EQ(matcher.push(" a##"), " a");
  EXPECT_EQ(matcher.push("#b"), "");
  EXPECT_TRUE(matcher.matched());
  EXPECT_EQ(matcher.push("more"), "");
  EXPECT_EQ(matcher.finish(), "");
}

TEST(StopMatcher, WithoutStringsPassesAllOn) {
  StopMatcher matcher(std::make_shared<const StopStrings>(std::vector<std::string>{""}));
  EXPECT_EQ(matcher.push("abc"), "abc");
  EXPECT_EQ(matcher.finish(), "");
  EXPECT_FALSE(matcher.matched());
}

}  // namespace
}  // namespace sluice
