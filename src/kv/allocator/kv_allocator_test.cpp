#include "kv/allocator/kv_allocator.h"

#include <gtest/gtest.h>

#include "base/rng.h"

namespace sluice {
namespace {

constexpr int kBlockTokens = 4, kContext = 30, kBlocks = 43;  // no whole number of contexts

TEST(KvAllocators, HoldWhatPositionsNeedAndNoMoreThanAContext) {
  for (const KvAllocatorEntry& entry : kv_allocator_catalog()) {
    const auto allocator = entry.make({kBlockTokens, kContext});
    for (int tokens = 1; tokens <= kContext; ++tokens) {
      EXPECT_GE(allocator->blocks_to_hold(tokens) * kBlockTokens, tokens) << entry.name;
      EXPECT_GE(allocator->blocks_to_hold(tokens), allocator->blocks_to_hold(tokens - 1)) << entry.name;
      EXPECT_LE(allocator->blocks_to_hold(tokens), (kContext + kBlockTokens - 1) / kBlockTokens) << entry.name;
    }
    if (!allocator->grows()) {
      EXPECT_EQ(allocator->blocks_to_hold(1), allocator->blocks_to_hold(kContext)) << entry.name;
    }
  }
}

// Sequences come, grow and go at random: every one gets blocks as long as the pool can hold what it wants.
TEST(KvAllocators, FindABlockAsLongAsThereIsRoom) {
  for (const KvAllocatorEntry& entry : kv_allocator_catalog()) {
    SCOPED_TRACE(std::string(entry.name));
    const auto allocator = entry.make({kBlockTokens, kContext});
    BlockPool pool(kBlocks, kBlockTokens);
    Rng rng(1);
    struct Held {
      BlockTable table;
      int tokens;
    };
    std::vector<Held> held;
    for (int round = 0; round < 2000; ++round) {
      const bool grow = !held.empty() && rng.below(2) == 0;
      if (!grow) held.push_back({{}, 0});
      Held& h = grow ? held[rng.below(held.size())] : held.back();
      h.tokens = std::min<int>(kContext, h.tokens + static_cast<int>(rng.between(1, 9)));
      const int needed = allocator->blocks_to_hold(h.tokens) - h.table.size();
      if (needed > pool.free()) {
        held.erase(held.begin() + static_cast<long>(rng.below(held.size())));
      } else {
        for (int i = 0; i < needed; ++i) {
          auto block = allocator->next(pool, h.table);
          ASSERT_TRUE(block.has_value());
          ASSERT_EQ(block->count(), 1);
          h.table.push(std::move(*block));
        }
        if (entry.name == "static") {
          for (int i = 1; i < h.table.size(); ++i) ASSERT_EQ(h.table.ids()[i], h.table.ids()[i - 1] + 1);
        }
      }
      if (held.size() > 12 || rng.below(8) == 0) held.erase(held.begin());
      std::erase_if(held, [](const Held& x) { return x.table.empty(); });
      ASSERT_TRUE(pool.consistent());
    }
  }
}

TEST(BlockPool, GivesATablesBlocksAgainInTheirOrder) {
  BlockPool pool(8, 16);
  BlockTable table;
  for (int i = 0; i < 5; ++i) table.push(*pool.allocate());
  const std::vector<BlockId> first(table.ids().begin(), table.ids().end());
  table.clear();
  for (int i = 0; i < 5; ++i) table.push(*pool.allocate());
  EXPECT_TRUE(std::equal(first.begin(), first.end(), table.ids().begin()));
}

}  // namespace
}  // namespace sluice
