#include "text/tokenizer/utf8.h"

#include <gtest/gtest.h>

#include "base/rng.h"

namespace sluice {
namespace {

TEST(Utf8, ReplacesMaximalSubparts) {
  // The example of Unicode 15, table 3-8 and its neighbours.
  EXPECT_EQ(to_valid_utf8("\x61\xF1\x80\x80\xE1\x80\xC2\x62\x80\x63\x80\xBF\x64"),
            "a\uFFFD\uFFFD\uFFFDb\uFFFDc\uFFFD\uFFFDd");
  EXPECT_EQ(to_valid_utf8("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41"),
            "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\x41");
  EXPECT_EQ(to_valid_utf8("\xED\xA0\x80"), "\uFFFD\uFFFD\uFFFD");  // a surrogate
  EXPECT_EQ(to_valid_utf8("\xF4\x90\x80\x80"), "\uFFFD\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(to_valid_utf8("\xE4\xB8"), "\uFFFD");
  EXPECT_EQ(to_valid_utf8("gr\u00fcn \u4e2d \U0001F44D"), "gr\u00fcn \u4e2d \U0001F44D");
}

TEST(Utf8, AnyChunkingGivesTheSameText) {
  Rng rng(1);
  for (int round = 0; round < 500; ++round) {
    std::string bytes;
    for (int i = 0; i < 40; ++i) {
      if (rng.below(2) == 0)
        bytes += static_cast<char>(rng.below(256));
      else
        append_utf8(bytes, static_cast<uint32_t>(rng.below(0xd800)));
    }
    std::string streamed, held;
    for (const char b : bytes) {
      held += b;
      held.erase(0, append_utf8_lossy(held, false, streamed));
      ASSERT_LE(held.size(), 3u);
    }
    append_utf8_lossy(held, true, streamed);
    ASSERT_EQ(streamed, to_valid_utf8(bytes));
    for (size_t at = 0; at < streamed.size(); at += utf8_length(static_cast<unsigned char>(streamed[at]))) {
      std::string again;
      append_utf8(again, decode_utf8(streamed, at));
      ASSERT_EQ(again, streamed.substr(at, again.size()));
    }
  }
}

TEST(Utf8, ByteLevelAlphabet) {
  std::string all;
  for (int b = 0; b < 256; ++b) all += static_cast<char>(b);
  std::string bytes;
  EXPECT_TRUE(append_byte_level(bytes_to_byte_level(all), bytes));
  EXPECT_EQ(bytes, all);
  EXPECT_EQ(bytes_to_byte_level(" a\n"), "\u0120a\u010a");
  EXPECT_FALSE(append_byte_level("a b", bytes));
  EXPECT_FALSE(append_byte_level("\u4e2d", bytes));
}

}  // namespace
}  // namespace sluice
