#include "kv/recent_pages.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/rng.h"

namespace sluice {
namespace {

std::vector<BlockRef> allocate(BlockPool& pool, int n) {
  std::vector<BlockRef> blocks;
  for (int i = 0; i < n; ++i) {
    blocks.push_back(*pool.allocate());
    pool.recent()->write(blocks.back().id());  // and nobody holds it
  }
  return blocks;
}

TEST(RecentPages, TheLeastRecentlyUsedGivesWay) {
  BlockPool pool(8, 4, {3, 4});
  RecentPages& pages = *pool.recent();
  auto blocks = allocate(pool, 3);
  pages.want(blocks[0].id());
  blocks.push_back(*pool.allocate());
  const BlockRef page = pages.write(blocks[3].id());
  EXPECT_TRUE(pages.find(blocks[0].id()));
  EXPECT_FALSE(pages.find(blocks[1].id())) << "it was the oldest";
  EXPECT_TRUE(pages.find(blocks[2].id()));
  EXPECT_EQ(pages.find(blocks[3].id()).id(), page.id());
  EXPECT_EQ(pages.reclaimed(), 1u);
}

// What was passed goes before where a sequence has ended, unless a prefix was wanted there, with its page or without.
TEST(RecentPages, WhatWasPassedGoesFirst) {
  BlockPool pool(8, 4, {3, 4});
  RecentPages& pages = *pool.recent();
  auto blocks = allocate(pool, 3);
  pages.want(blocks[1].id());
  pages.pass(blocks[1].id());
  pages.pass(blocks[2].id());
  blocks.push_back(*pool.allocate());
  pages.write(blocks[3].id());
  EXPECT_TRUE(pages.find(blocks[0].id()) && pages.find(blocks[1].id()));
  EXPECT_FALSE(pages.find(blocks[2].id()));
  pages.want(blocks[2].id());
  pages.adopt(blocks[2].id(), pages.find(blocks[3].id()));
  pages.pass(blocks[2].id());
  pages.pass(blocks[3].id());
  blocks.push_back(*pool.allocate());
  pages.write(blocks[4].id());
  EXPECT_TRUE(pages.find(blocks[2].id())) << "it was wanted while it had none";
  EXPECT_FALSE(pages.find(blocks[0].id()));
}

// Single tokens of sequences that take turns: the pages of each one's last 256 are whole clusters, though passed ones give way for them.
TEST(RecentPages, FollowTheClustersOfTheirBlocks) {
  constexpr int kReach = 256, kTokens = 1600;
  BlockPool pool(4 * kTokens, 1, {1600, kReach});
  RecentPages& pages = *pool.recent();
  struct Sequence {
    std::vector<BlockRef> blocks, held;  // pages of the last tokens
  };
  std::vector<Sequence> sequences(3);
  for (int t = 0; t < kTokens; ++t)
    for (Sequence& s : sequences) {
      s.blocks.push_back(*pool.allocate({t > 0 ? s.blocks.back().id() : kNoBlock, static_cast<BlockId>(t % 16)}));
      s.held.push_back(pages.write(s.blocks.back().id()));
      if (t < kReach) continue;
      s.held.erase(s.held.begin());
      pages.pass(s.blocks[static_cast<size_t>(t - kReach)].id());
    }
  EXPECT_GT(pages.reclaimed(), 1000u);
  for (const Sequence& s : sequences)
    for (size_t i = 0; i < kReach; ++i) EXPECT_EQ(s.held[i].id(), s.held[i / 16 * 16].id() / 16 * 16 + i % 16) << i;
}

TEST(RecentPages, WhatIsHeldStays) {
  BlockPool pool(8, 4, {2, 4});
  RecentPages& pages = *pool.recent();
  auto blocks = allocate(pool, 2);
  BlockRef held = pages.find(blocks[0].id()), also = pages.find(blocks[1].id());
  blocks.push_back(*pool.allocate());
  EXPECT_DEATH(pages.write(blocks[2].id()), "more than the 2 pages");
  also = {};
  EXPECT_TRUE(pages.write(blocks[2].id()));
  EXPECT_TRUE(pages.find(blocks[0].id()));
  EXPECT_DEATH(pages.write(blocks[2].id()), "has a page already");
}

TEST(RecentPages, ABlockThatIsFreedGivesItsPageUp) {
  BlockPool pool(4, 4, {2, 4});
  auto blocks = allocate(pool, 2);
  EXPECT_EQ(pool.recent()->pages().free(), 0);
  blocks.pop_back();
  EXPECT_EQ(pool.recent()->pages().free(), 1);
  EXPECT_TRUE(pool.recent()->consistent(0));
}

// Two blocks of equal contents: the page lives as long as one of them does.
TEST(RecentPages, AnAdoptedPageIsBoths) {
  BlockPool pool(4, 4, {2, 4});
  RecentPages& pages = *pool.recent();
  BlockRef cached = *pool.allocate(), own = *pool.allocate();
  BlockRef page = pages.write(own.id());
  pages.adopt(cached.id(), page);
  EXPECT_EQ(pages.find(cached.id()).id(), page.id());
  own = {};
  page = {};
  EXPECT_TRUE(pages.find(cached.id()));
  EXPECT_EQ(pages.pages().free(), 1);
  EXPECT_TRUE(pages.consistent(0));
  cached = {};
  EXPECT_EQ(pages.pages().free(), 2);
}

// Against its definition: every token that the next one reads has a page.
TEST(RecentPages, ResumesWhereAllThatIsReadIsThere) {
  Rng rng(5);
  for (int trial = 0; trial < 2000; ++trial) {
    const int block_tokens = static_cast<int>(rng.between(1, 5)), n = static_cast<int>(rng.between(1, 12)), reach = static_cast<int>(rng.between(1, 12));
    BlockPool pool(n, block_tokens, {n, reach});
    std::vector<BlockRef> blocks;
    std::vector<bool> has;
    for (int i = 0; i < n; ++i) {
      blocks.push_back(*pool.allocate());
      has.push_back(rng.below(4) != 0);
      if (has.back()) pool.recent()->write(blocks.back().id());
    }
    const int computed = static_cast<int>(rng.between(1, n * block_tokens));
    const auto reads = [&](int from) {
      for (int t = std::max(0, from - reach); t < from; ++t)
        if (!has[static_cast<size_t>(t / block_tokens)]) return false;
      return true;
    };
    int want = computed;
    while (!(reads(want) && (want == computed || want % block_tokens == 0))) --want;
    ASSERT_EQ(pool.recent()->resumable(blocks, computed), want) << computed << " tokens in blocks of " << block_tokens << ", reach " << reach;
  }
}

}  // namespace
}  // namespace sluice
