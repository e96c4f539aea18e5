// Against a map, over random additions and removals.

#include "text/tokenizer/models/piece_table.h"

#include <gtest/gtest.h>

#include <map>

#include "base/rng.h"

namespace sluice {
namespace {

TEST(PieceTable, EqualsAMap) {
  Rng rng(7);
  for (int round = 0; round < 20; ++round) {
    PieceTable table;
    std::map<std::string, TokenId> expected;
    const auto text = [&] {
      std::string s;
      for (uint64_t n = rng.below(6); n > 0; --n) s.push_back(static_cast<char>("ab\0\xff"[rng.below(4)]));
      return s;
    };
    for (int step = 0; step < 3000; ++step) {
      const std::string t = text();
      if (rng.below(3) == 0) {
        const auto it = expected.find(t);
        ASSERT_EQ(table.find(t), it == expected.end() ? std::nullopt : std::optional(it->second));
      } else {
        ASSERT_EQ(table.add(t, step), expected.emplace(t, step).second);
      }
      if (step % 1000 == 999) {
        table.remove_if([](std::string_view, TokenId id) { return id % 3 == 0; });
        std::erase_if(expected, [](const auto& entry) { return entry.second % 3 == 0; });
      }
    }
    std::map<std::string, TokenId> found;
    table.for_each([&](std::string_view t, TokenId id) { ASSERT_TRUE(found.emplace(t, id).second); });
    EXPECT_EQ(found, expected);
  }
}

}  // namespace
}  // namespace sluice
