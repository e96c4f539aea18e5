#include "kv/allocator/kv_allocator.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "kv/block_table.h"
#include "tests/support/clusters.h"

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
          auto block = allocator->next(pool, h.table.ids());
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

// Sequences that take a token each in turn keep out of each other's clusters while there are others, and share what is left of
// them then.
TEST(PagedAllocator, GivesEachSequenceClustersOfItsOwn) {
  for (const int block_tokens : {1, 2, 4, 8}) {
    const int cluster = 16 / block_tokens;
    const auto allocator = kv_allocator_catalog()[0].make({block_tokens, 4096});
    BlockPool pool(40 * cluster, block_tokens);
    std::vector<BlockTable> tables(8);
    for (int round = 0; round < 4 * cluster; ++round)
      for (BlockTable& table : tables) table.push(*allocator->next(pool, table.ids()));
    for (const BlockTable& table : tables) EXPECT_EQ(test::whole_clusters(table.ids(), cluster), 4) << block_tokens;
    tables[3].truncate(cluster + 1);  // what is left of its second cluster stays its own
    tables[0].push(*allocator->next(pool, tables[0].ids()));
    EXPECT_NE(tables[0].ids().back() / static_cast<BlockId>(cluster), tables[3].ids().back() / static_cast<BlockId>(cluster));
    while (tables[3].size() < 2 * cluster) tables[3].push(*allocator->next(pool, tables[3].ids()));
    EXPECT_EQ(test::whole_clusters(tables[3].ids(), cluster), 2) << block_tokens;
    for (size_t i = 0; pool.free() > 0; i = (i + 1) % tables.size()) {
      auto block = allocator->next(pool, tables[i].ids());
      ASSERT_TRUE(block.has_value()) << pool.free() << " of " << block_tokens;
      tables[i].push(std::move(*block));
    }
    EXPECT_FALSE(allocator->next(pool, tables[0].ids()).has_value());
    EXPECT_TRUE(pool.consistent());
  }
}

// A block that is copied on write stands where it replaces the other, and the other's sequence goes on in its cluster.
TEST(PagedAllocator, ACopyTakesThePlaceOfWhatItReplaces) {
  const auto allocator = kv_allocator_catalog()[0].make({4, 4096});
  BlockPool pool(40, 4);
  BlockTable parent, child;
  for (int i = 0; i < 3; ++i) parent.push(*allocator->next(pool, parent.ids()));
  for (int i = 0; i < 3; ++i) child.push(BlockRef(parent[i]));
  child.replace(2, *allocator->next(pool, child.ids().first(2)));
  parent.push(*allocator->next(pool, parent.ids()));
  child.push(*allocator->next(pool, child.ids()));
  EXPECT_EQ(test::whole_clusters(parent.ids(), 4), 1);
  EXPECT_EQ(child.ids()[2] % 4, 2u);
  EXPECT_EQ(child.ids()[3], child.ids()[2] + 1);
}

// A sequence that goes on from another's prefix, wherever it ends, has whole clusters again from the next 16 positions on.
TEST(PagedAllocator, FindsItsPlaceInAClusterAgainBehindASharedPrefix) {
  const auto allocator = kv_allocator_catalog()[0].make({1, 4096});
  BlockPool pool(400, 1);
  BlockTable first, second;
  for (int i = 0; i < 100; ++i) first.push(*allocator->next(pool, first.ids()));
  for (int i = 0; i < 37; ++i) second.push(BlockRef(first[i]));
  for (int i = 37; i < 160; ++i) second.push(*allocator->next(pool, second.ids()));
  EXPECT_EQ(test::whole_clusters(second.ids(), 16), 9);  // all but that in which the prefix ends
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
