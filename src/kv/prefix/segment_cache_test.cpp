#include "kv/prefix/segment_cache.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <list>

#include "base/rng.h"

namespace sluice {
namespace {

std::unique_ptr<PrefixCache> prefixes(BlockPool& pool, std::string_view name) {
  for (const PrefixCacheEntry& entry : prefix_cache_catalog())
    if (entry.name == name) return entry.make(pool);
  return nullptr;
}

BlockTable blocks(BlockPool& pool, int n) {
  BlockTable table;
  for (int i = 0; i < n; ++i) table.push(*pool.allocate());
  return table;
}

SegmentKey key(std::vector<TokenId> tokens, int first_position = 0, CacheSalt salt = 0, int lead = 0) {
  std::vector<int32_t> positions;
  for (size_t i = 0; i < tokens.size(); ++i) positions.push_back(first_position + static_cast<int32_t>(i));
  return SegmentKey(salt, lead, std::move(tokens), std::move(positions));
}

TEST(SegmentCache, FindsExactlyWhatWasKept) {
  BlockPool pool(8, 4);
  SegmentCache cache(prefixes(pool, "none"), pool);
  const SegmentKey stored = key({1, 2, 3, 4, 5}, 10);
  cache.keep(stored, blocks(pool, 2));
  EXPECT_EQ(cache.find(stored).blocks.size(), 2u);
  EXPECT_FALSE(cache.find(key({1, 2, 3, 4, 6}, 10)));
  EXPECT_FALSE(cache.find(key({1, 2, 3, 4}, 10)));
  EXPECT_FALSE(cache.find(key({1, 2, 3, 4, 5}, 11))) << "its keys are rotated by other positions";
  EXPECT_FALSE(cache.find(key({1, 2, 3, 4, 5}, 10, 1))) << "another tenant's";
  EXPECT_FALSE(cache.find(key({1, 2, 3, 4, 5}, 10, 0, 1))) << "one token of it was only seen";
  SegmentKey forged = key({9, 9, 9, 9, 9}, 10);
  forged.hash = stored.hash;
  EXPECT_FALSE(cache.find(forged)) << "a hash alone makes no hit";
  cache.keep(forged, blocks(pool, 2));  // and two of one hash are two
  EXPECT_EQ(cache.segments_held(), 2);
  EXPECT_NE(cache.find(forged).blocks[0].id(), cache.find(stored).blocks[0].id());
  EXPECT_TRUE(cache.consistent());
}

TEST(SegmentCache, KeptTwiceItIsHeldOnce) {
  BlockPool pool(8, 4);
  SegmentCache cache(prefixes(pool, "none"), pool);
  cache.keep(key({1, 2}), blocks(pool, 1));
  cache.keep(key({1, 2}), blocks(pool, 1));
  EXPECT_EQ(pool.free(), 7);
  EXPECT_EQ(cache.evictable(), 1);
  EXPECT_TRUE(cache.consistent() && pool.consistent());
}

TEST(SegmentCache, TheLeastRecentlyUsedGoFirstAndPinnedOnesStay) {
  BlockPool pool(8, 4);
  SegmentCache cache(prefixes(pool, "radix"), pool);
  for (TokenId t : {1, 2, 3}) cache.keep(key({t, t, t, t, t}), blocks(pool, 2));
  cache.use(key({1, 1, 1, 1, 1}));
  const SegmentHit pinned = cache.find(key({2, 2, 2, 2, 2}));
  EXPECT_EQ(cache.evictable(), 4);
  EXPECT_GE(cache.evict(1), 1);
  EXPECT_FALSE(cache.find(key({3, 3, 3, 3, 3}))) << "the oldest that nobody holds";
  EXPECT_TRUE(cache.find(key({1, 1, 1, 1, 1})));
  EXPECT_EQ(cache.evict(8), 2);
  EXPECT_EQ(cache.segments_held(), 1);
  EXPECT_TRUE(cache.consistent() && pool.consistent());
}

TEST(SegmentCache, PrefixesGoBeforeSegmentsAndAreFoundAsEver) {
  BlockPool pool(8, 2);
  SegmentCache cache(prefixes(pool, "radix"), pool);
  cache.keep(key({5, 6, 7}), blocks(pool, 2));
  {
    BlockTable table = blocks(pool, 2);
    cache.insert(0, std::vector<TokenId>{1, 2, 3, 4}, 2, table);
  }
  EXPECT_EQ(cache.match(0, std::vector<TokenId>{1, 2, 3, 4, 5}).blocks.size(), 2u);
  EXPECT_TRUE(cache.match(0, std::vector<TokenId>{5, 6, 7}).blocks.empty()) << "a segment is no prefix";
  EXPECT_EQ(cache.size(), 4);
  EXPECT_EQ(cache.evictable(), 4);
  EXPECT_EQ(cache.evict(2), 2);
  EXPECT_TRUE(cache.match(0, std::vector<TokenId>{1, 2, 3, 4, 5}).blocks.empty());
  EXPECT_TRUE(cache.find(key({5, 6, 7})));
}

TEST(SegmentCache, RandomUseAgainstAPlainList) {
  Rng rng(3);
  BlockPool pool(24, 4);
  SegmentCache cache(prefixes(pool, "hash"), pool);
  std::list<std::pair<SegmentKey, int>> model;  // oldest first, with their blocks
  for (int i = 0; i < 4000; ++i) {
    const int tokens = static_cast<int>(rng.between(1, 12)), n = (tokens + 3) / 4;
    const SegmentKey k = key(std::vector<TokenId>(static_cast<size_t>(tokens), static_cast<TokenId>(rng.below(3))), static_cast<int>(rng.below(2)));
    const auto known = std::ranges::find(model, k, &std::pair<SegmentKey, int>::first);
    ASSERT_EQ(static_cast<bool>(cache.find(k)), known != model.end());
    if (known != model.end()) {
      cache.use(k);
      model.splice(model.end(), model, known);
      continue;
    }
    while (pool.free() < n) {
      ASSERT_EQ(cache.evict(1), model.front().second);
      model.pop_front();
    }
    cache.keep(k, blocks(pool, n));
    model.emplace_back(k, n);
    ASSERT_TRUE(cache.consistent());
  }
  ASSERT_TRUE(pool.consistent());
}

}  // namespace
}  // namespace sluice
