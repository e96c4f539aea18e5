#include "kv/prefix/history_index.h"

#include <gtest/gtest.h>

#include "kv/prefix/segment_cache.h"

namespace sluice {
namespace {

std::unique_ptr<PrefixCache> radix(BlockPool& pool) { return prefix_cache_catalog()[0].make(pool); }

std::vector<TokenId> range(TokenId from, int n) {
  std::vector<TokenId> out;
  for (int i = 0; i < n; ++i) out.push_back(from + i);
  return out;
}

/// Publishes a prompt of whole blocks.
void publish(SegmentCache& cache, BlockPool& pool, std::vector<TokenId> tokens, CacheSalt salt = 0) {
  BlockTable table;
  for (size_t i = 0; i < tokens.size() / 4; ++i) table.push(*pool.allocate());
  cache.insert(salt, tokens, table.size(), table);
}

TEST(HistoryIndex, FindsRunsFromTheMiddleOfPrompts) {
  BlockPool pool(32, 4);
  SegmentCache cache(radix(pool), pool, true);
  publish(cache, pool, range(100, 24));
  const auto run = cache.find_kept(0, range(108, 30));
  ASSERT_TRUE(run.has_value());
  EXPECT_EQ(run->position, 8);
  EXPECT_EQ(run->blocks.size(), 4u) << "to the end of what is held";
  EXPECT_EQ(run->above.size(), 2u);
  EXPECT_EQ(cache.evictable(), 0) << "nothing of that prompt can be evicted meanwhile";
  EXPECT_FALSE(cache.find_kept(0, range(109, 30))) << "it began in the middle of a block";
  EXPECT_FALSE(cache.find_kept(1, range(108, 30))) << "another tenant";
  EXPECT_FALSE(cache.find_kept(0, range(108, 3))) << "less than a block";
  std::vector<TokenId> differs = range(108, 16);
  differs[9] = 5;
  EXPECT_EQ(cache.find_kept(0, differs)->blocks.size(), 2u) << "tokens are compared";
}

TEST(HistoryIndex, ARunIsOfOnePromptAndTheLongest) {
  BlockPool pool(32, 4);
  SegmentCache cache(radix(pool), pool, true);
  std::vector<TokenId> one = range(100, 8), two = range(200, 12);  // both hold 104..107, the second goes on with what follows
  const std::vector<TokenId> shared = range(104, 8);
  std::copy(shared.begin(), shared.end(), two.begin() + 4);
  publish(cache, pool, one);
  publish(cache, pool, two);
  const auto run = cache.find_kept(0, range(104, 8));
  ASSERT_TRUE(run.has_value());
  EXPECT_EQ(run->blocks.size(), 2u);
  EXPECT_EQ(run->position, 4);
}

TEST(HistoryIndex, ForgetsWhatTheCacheHasEvicted) {
  BlockPool pool(6, 4);
  SegmentCache cache(radix(pool), pool, true);
  publish(cache, pool, range(100, 24));
  ASSERT_TRUE(cache.find_kept(0, range(104, 8)));
  EXPECT_EQ(cache.evict(6), 6);
  EXPECT_FALSE(cache.find_kept(0, range(104, 8)));
  {  // the same blocks, for something that is no part of any prompt's chain
    BlockTable table;
    for (int i = 0; i < 6; ++i) table.push(*pool.allocate());
    std::vector<int32_t> positions(24);
    cache.keep(SegmentKey(0, 0, range(500, 24), positions), std::move(table));
  }
  EXPECT_FALSE(cache.find_kept(0, range(104, 8)));
  EXPECT_EQ(cache.evict(6), 6);
  publish(cache, pool, range(300, 24));  // the same again
  EXPECT_FALSE(cache.find_kept(0, range(104, 8)));
  EXPECT_TRUE(cache.find_kept(0, range(308, 8)));
}

TEST(HistoryIndex, KeepsWhatIsNoPrefixUntilItIsEvicted) {
  BlockPool pool(8, 4);
  SegmentCache cache(radix(pool), pool, true);
  {
    BlockTable table;
    for (int i = 0; i < 5; ++i) table.push(*pool.allocate());
    cache.keep_history(0, range(100, 20), 1, 5, table);
  }
  EXPECT_EQ(pool.free(), 4);
  EXPECT_TRUE(cache.match(0, range(100, 20)).blocks.empty());
  {
    const auto run = cache.find_kept(0, range(104, 16));
    ASSERT_TRUE(run.has_value());
    EXPECT_EQ(run->position, 4);
    EXPECT_EQ(run->blocks.size(), 4u);
    EXPECT_EQ(cache.evict(1), 0) << "pinned";
    EXPECT_FALSE(cache.find(SegmentKey(0, 0, range(104, 4), {4, 5, 6, 7}))) << "it was not encoded alone";
  }
  EXPECT_TRUE(cache.consistent());
  EXPECT_EQ(cache.evict(1), 1);
  EXPECT_EQ(cache.find_kept(0, range(104, 16))->blocks.size(), 3u) << "the end went first";
  EXPECT_EQ(cache.evict(4), 3);
  EXPECT_FALSE(cache.find_kept(0, range(104, 16)));
  EXPECT_TRUE(cache.consistent() && pool.consistent());
}

}  // namespace
}  // namespace sluice
