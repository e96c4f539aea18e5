#include "kv/tier/tier_index.h"

#include <gtest/gtest.h>

#include <map>

#include "base/rng.h"
#include "kv/tier/restore.h"

namespace sluice {
namespace {

constexpr int kBlock = 4;

std::vector<TokenId> run_of(int first, int blocks) {
  std::vector<TokenId> tokens;
  for (int i = 0; i < blocks * kBlock; ++i) tokens.push_back(first * 1000 + i);
  return tokens;
}

struct World {
  World(int host, int disk, std::string_view policy) : pool(64, kBlock), index({host, disk, kBlock}, make(policy)) {}
  static std::unique_ptr<TierPolicy> make(std::string_view name) {
    for (const TierPolicyEntry& entry : tier_policy_catalog())
      if (entry.name == name) return entry.make();
    return nullptr;
  }
  void save(const std::vector<TokenId>& tokens, CacheSalt salt = 0) {
    BlockTable table;
    const int blocks = static_cast<int>(tokens.size()) / kBlock;
    for (int i = 0; i < blocks; ++i) table.push(*pool.allocate());
    index.save(++seq, salt, tokens, 0, blocks, table);
    ASSERT_TRUE(index.consistent());
  }
  int found(const std::vector<TokenId>& tokens, CacheSalt salt = 0) {
    return static_cast<int>(index.match(salt, tokens, 0, 1000).blocks.size());
  }
  BlockPool pool;
  TierIndex index;
  SeqId seq = 100;
};

TEST(TierIndex, FindsOnlyTheSamePrefixUnderTheSameSalt) {
  World w(32, 0, "lru");
  const auto tokens = run_of(1, 5);
  w.save(tokens, 7);
  EXPECT_EQ(w.found(tokens, 7), 5);
  EXPECT_EQ(w.found(tokens, 8), 0) << "another tenant's";
  auto other = tokens;
  other[9] = -1;
  EXPECT_EQ(w.found(other, 7), 2) << "up to the block that differs";
  const std::vector<TokenId> moved(tokens.begin() + kBlock, tokens.end());
  EXPECT_EQ(w.found(moved, 7), 0) << "the same tokens behind another prefix";
  EXPECT_EQ(w.index.match(7, tokens, 2, 2).blocks.size(), 2u);
}

TEST(TierIndex, ASequenceThatGrowsIsFoundLikeOneThatWasSavedWhole) {
  World w(64, 0, "lru");
  const auto tokens = run_of(1, 6), other = run_of(2, 6);
  BlockTable table;
  for (int i = 0; i < 6; ++i) table.push(*w.pool.allocate());
  w.index.save(1, 3, tokens, 0, 2, table);
  w.index.save(1, 3, tokens, 2, 3, table);
  w.index.save(1, 3, tokens, 3, 6, table);
  EXPECT_EQ(w.found(tokens, 3), 6);
  // The same blocks, of other sequences, under another salt and with other tokens: what was remembered of them does not count.
  w.index.save(2, 4, tokens, 3, 6, table);
  w.index.save(3, 3, other, 3, 6, table);
  EXPECT_EQ(w.index.match(4, tokens, 3, 3).blocks.size(), 3u);
  EXPECT_EQ(w.index.match(3, other, 3, 3).blocks.size(), 3u);
  ASSERT_TRUE(w.index.consistent());
}

// [a][S][T] was in blocks that [c][S][T] has now: what goes on from there goes on from c.
TEST(TierIndex, ABlockThatWasAnothersLeadsToNoOldChain) {
  World w(64, 0, "lru");
  auto a = run_of(1, 4), c = a;
  c[0] = -1;
  BlockTable table;
  for (int i = 0; i < 4; ++i) table.push(*w.pool.allocate());
  w.index.save(1, 0, a, 0, 3, table);
  w.index.save(2, 0, std::vector<TokenId>(c.begin(), c.end()), 0, 4, table);
  auto longer = c;
  longer[3 * kBlock] = -2;
  w.index.save(3, 0, longer, 3, 4, table);  // it began with the three blocks of the second
  auto behind_a = a;
  behind_a[3 * kBlock] = -2;
  EXPECT_EQ(w.found(behind_a), 3) << "its last block was computed behind c";
  EXPECT_EQ(w.found(longer), 4);
}

TEST(TierIndex, SavesEachBlockOnceToEveryTier) {
  World w(8, 8, "lru");
  w.save(run_of(1, 3));
  EXPECT_EQ(w.index.take_copies().size(), 6u);
  w.save(run_of(1, 3));
  EXPECT_TRUE(w.index.take_copies().empty());
  EXPECT_EQ(w.index.stats().saved, 3u);
}

TEST(TierIndex, PoliciesGiveUpInTheirOrder) {
  for (const auto& [policy, survivor] : {std::pair{"lru", 1}, {"fifo", 2}, {"queue-aware", 1}}) {
    World w(6, 0, policy);
    w.save(run_of(1, 3));
    w.save(run_of(2, 3));
    w.save(run_of(1, 3));  // used again
    w.save(run_of(3, 3));
    EXPECT_EQ(w.found(run_of(survivor, 3)), 3) << policy;
    EXPECT_EQ(w.found(run_of(3, 3)), 3) << policy;
    EXPECT_EQ(w.found(run_of(3 - survivor, 3)), 0) << policy;
  }
}

TEST(TierIndex, FetchesForThoseWhoWaitAndProtectsWhatTheyNeed) {
  World w(4, 16, "queue-aware");
  for (int i = 1; i <= 3; ++i) w.save(run_of(i, 3));  // of the first two, host memory keeps less than all
  (void)w.index.take_copies();
  const auto wanted = run_of(1, 3);
  ASSERT_EQ(w.index.match(0, wanted, 0, 9).blocks[0].tier, Tier::disk);
  const TierNeed need{0, wanted};
  w.index.look_ahead({&need, 1});
  const auto copies = w.index.take_copies();
  ASSERT_EQ(copies.size(), 3u);
  for (const KvCopy& copy : copies) EXPECT_TRUE(copy.from == Tier::disk && copy.to == Tier::host);
  for (const auto& block : w.index.match(0, wanted, 0, 9).blocks) EXPECT_EQ(block.tier, Tier::host);
  w.save(run_of(9, 4));  // needs room in host memory: not theirs
  for (const auto& block : w.index.match(0, wanted, 0, 9).blocks) EXPECT_EQ(block.tier, Tier::host);
  EXPECT_TRUE(w.index.consistent());
}

TEST(TierIndex, WhatNobodyWaitsForAnyMoreIsGivenUp) {
  World w(4, 4, "queue-aware");
  const auto wanted = run_of(1, 4);
  w.save(wanted);
  const TierNeed need{0, wanted};
  w.index.look_ahead({&need, 1});
  w.save(run_of(2, 2));
  EXPECT_EQ(w.found(run_of(2, 2)), 0) << "all are waited for";
  w.index.look_ahead({});
  w.save(run_of(2, 2));
  EXPECT_EQ(w.found(run_of(2, 2)), 2);
}

TEST(TierIndex, ABlockThatIsBeingLoadedStays) {
  World w(2, 0, "lru");
  w.save(run_of(1, 2));
  const TierHit hit = w.index.match(0, run_of(1, 2), 0, 9);
  for (const auto& block : hit.blocks) (void)w.index.load(*block.key, 5);
  w.save(run_of(2, 2));
  EXPECT_EQ(w.found(run_of(1, 2)), 2);
  EXPECT_EQ(w.found(run_of(2, 2)), 0) << "no room, so not kept";
  w.index.settled();
  w.save(run_of(2, 2));
  EXPECT_EQ(w.found(run_of(2, 2)), 2);
}

TEST(TierIndex, RecoversOnlyWhatFitsItsHash) {
  World w(0, 8, "lru");
  auto key = [](const std::vector<TokenId>& tokens, uint64_t parent) {
    return std::make_shared<BlockKey>(BlockKey{next_block_hash(parent, tokens), parent, tokens});
  };
  const auto tokens = run_of(1, 1);
  const auto good = key(tokens, root_block_hash(0)), wrong = key(run_of(2, 1), 5);
  wrong->tokens[0] = 12345;
  const RecoveredBlock blocks[] = {{3, good}, {4, wrong}, {3, key(run_of(3, 1), 6)}, {99, key(run_of(4, 1), 6)}, {5, good}};
  EXPECT_EQ(w.index.recover(blocks), 1);
  EXPECT_EQ(w.found(tokens), 1);
  EXPECT_TRUE(w.index.consistent());
}

TEST(TierIndex, WhatIsFoundIsOfItsOwnKey) {
  const auto tokens = run_of(1, 1);
  const auto block = std::make_shared<BlockKey>(BlockKey{next_block_hash(root_block_hash(7), tokens), root_block_hash(7), tokens});
  for (const uint64_t key : {7, 8}) {
    TierIndex index({0, 8, static_cast<int>(tokens.size()), key}, tier_policy_catalog()[0].make());
    const RecoveredBlock recovered{3, block};
    EXPECT_EQ(index.recover({&recovered, 1}), 1);
    EXPECT_EQ(index.match(0, tokens, 0, 1).blocks.size(), key == 7 ? 1u : 0u);
  }
  EXPECT_NE(random_prefix_key(), random_prefix_key());
}

TEST(Restore, TakesTheCheaperAndTriesTheOtherAgain) {
  const auto choose = restore_catalog()[0].make();
  ASSERT_EQ(restore_catalog()[0].name, "auto");
  const auto key = std::make_shared<const BlockKey>();
  const TierHit disk{{{key, Tier::disk}, {key, Tier::disk}, {key, Tier::disk}}}, host{{{key, Tier::host}}};
  EXPECT_EQ(choose->blocks_to_load(disk, 16), 3) << "after a start";
  choose->learn({.step_ns = 100 * 1000, .tokens = 100});                                        // 1 us a token
  EXPECT_EQ(choose->blocks_to_load(disk, 16), 2) << "of what was never measured a little is tried";
  choose->learn({.step_ns = 90'000, .tokens = 1, .load_ns = 80'000, .loaded_disk = 2});  // 40 us a block of 16
  choose->learn({.step_ns = 9'000, .tokens = 1, .load_ns = 5'000, .loaded_host = 1});
  EXPECT_EQ(choose->blocks_to_load(disk, 16), 0) << "a tier slower than recomputation";
  EXPECT_EQ(choose->blocks_to_load(host, 16), 1);
  int tried = 0;
  for (int i = 0; i < 1000; ++i) {
    choose->learn({.step_ns = 1000, .tokens = 1});
    tried += choose->blocks_to_load(disk, 16) > 0;
  }
  EXPECT_GT(tried, 0);
  EXPECT_LT(tried, 10);
}

}  // namespace
}  // namespace sluice
