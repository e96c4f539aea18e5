#include "exec/kv_tiers.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <set>

#include "exec/kv_arena.h"
#include "kv/block_hash.h"
#include "tests/support/failing_io.h"

namespace sluice {
namespace {

constexpr int kHostSlots = 12, kTierBlocks = 60, kTierBlockTokens = 16, kLayers = 9;
const KvSpec kTierSpec{{{KvGroup::Kind::full, 0, kLayers - 1, 3, 40, 0}, {KvGroup::Kind::full, kLayers - 1, 1, 1, 64, 0}}};

std::shared_ptr<const BlockKey> key_of(uint64_t i) {
  std::vector<TokenId> tokens(kTierBlockTokens, static_cast<TokenId>(i));
  return std::make_shared<const BlockKey>(BlockKey{next_block_hash(i, tokens), i, tokens});
}

/// Byte by byte what block i holds.
std::vector<uint8_t> bytes_of(uint64_t i, size_t n) {
  std::vector<uint8_t> bytes(n);
  for (size_t b = 0; b < n; ++b) bytes[b] = static_cast<uint8_t>(b * 7 + b / 251 + i * 13);
  return bytes;
}

struct World {
  /// `io`: the disk's; null: a real file.
  explicit World(std::unique_ptr<AsyncIo> io = nullptr) : path(::testing::TempDir() + "sluice_kv_tiers_" + std::to_string(::getpid())), pool(KvArena::allocate(kTierSpec, kKvF32, kTierBlocks, kTierBlockTokens).value()) {
    std::remove(path.c_str());
    block_bytes = KvArena::block_bytes(kTierSpec, kKvF32, kTierBlockTokens);
    const BlockFileIdentity identity{1, block_bytes, kTierBlockTokens};
    auto file = BlockFile::open(path, BlockFile::bytes_for(kTierBlocks, identity), identity, std::move(io)).value();
    layout = file->layout();
    tiers = KvTiers::allocate(kHostSlots, std::move(file), block_bytes).value();
  }
  ~World() { std::remove(path.c_str()); }

  void run(std::span<const KvCopy> copies) { tiers.run(copies, pool, threads); }
  /// Puts blocks 0 to n - 1 to disk, each to slot_of() it.
  void save(int n) {
    std::vector<KvCopy> copies;
    for (int i = 0; i < n; ++i) {
      pool.put(static_cast<BlockId>(i), bytes_of(static_cast<uint64_t>(i), block_bytes).data());
      copies.push_back({static_cast<BlockId>(i), slot_of(i), kTierBlockTokens, Tier::pool, Tier::disk, key_of(static_cast<uint64_t>(i))});
    }
    run(copies);
    EXPECT_TRUE(tiers.finish().lost.empty());
    tiers.idle();
    for (int i = 0; i < kTierBlocks; ++i) pool.put(static_cast<BlockId>(i), std::vector<uint8_t>(block_bytes).data());
  }
  /// Some stand alone, some have neighbours.
  static BlockId slot_of(int i) { return static_cast<BlockId>(i % 7 == 3 ? kTierBlocks - 1 - i : i); }
  KvCopy load(int i, BlockId to) { return {slot_of(i), to, kTierBlockTokens, Tier::disk, Tier::pool, key_of(static_cast<uint64_t>(i))}; }
  bool holds(BlockId block, uint64_t i) {
    std::vector<uint8_t> bytes(block_bytes);
    return pool.get(block, bytes.data()) && bytes == bytes_of(i, block_bytes);
  }
  bool layer_holds(int layer, BlockId block, uint64_t i) {
    const std::vector<uint8_t> bytes = bytes_of(i, block_bytes);
    size_t at = 0;
    for (int l = 0; l <= layer; ++l) {
      const KvLayerView& view = pool.layers()[static_cast<size_t>(l)];
      const size_t n = view.tile_bytes() * static_cast<size_t>(view.kv_heads);
      if (l == layer) return std::memcmp(view.k + block * n, bytes.data() + at, n) == 0 && std::memcmp(view.v + block * n, bytes.data() + at + n, n) == 0;
      at += 2 * n;
    }
    return false;
  }

  std::string path;
  KvArena pool;
  KvTiers tiers;
  ThreadPool threads{2};
  BlockLayout layout;
  size_t block_bytes = 0;
};

TEST(KvTiers, ALayersBytesAreThereWhenItBegins) {
  World w;
  w.save(30);
  for (const int n : {1, 7, 30}) {  // 30 blocks of several parts are more than may be in flight
    std::vector<KvCopy> copies;
    for (int i = 0; i < n; ++i) copies.push_back(w.load(i, static_cast<BlockId>(2 * i)));
    w.run(copies);
    LayerPolicy* policy = w.tiers.policy();
    ASSERT_NE(policy, nullptr);
    for (int piece = 0; piece < 2; ++piece)
      for (int l = 0; l < kLayers; ++l) {
        policy->before_layer(l);
        for (int i = 0; i < n; ++i) ASSERT_TRUE(w.layer_holds(l, static_cast<BlockId>(2 * i), static_cast<uint64_t>(i))) << "layer " << l << " of block " << i;
        policy->after_attention(l);
      }
    EXPECT_TRUE(w.tiers.finish().lost.empty());
    EXPECT_EQ(w.tiers.policy(), nullptr);
    for (int i = 0; i < n; ++i) EXPECT_TRUE(w.holds(static_cast<BlockId>(2 * i), static_cast<uint64_t>(i)));
  }
}

TEST(KvTiers, WithoutAForwardPassFinishBringsAll) {
  World w;
  w.save(20);
  std::vector<KvCopy> copies;
  for (int i = 0; i < 20; ++i) copies.push_back(w.load(i, static_cast<BlockId>(i + 30)));
  copies.push_back({35, 1, kTierBlockTokens});  // of one that has just been asked for
  w.run(copies);
  EXPECT_TRUE(w.tiers.finish().lost.empty());
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(w.holds(static_cast<BlockId>(i + 30), static_cast<uint64_t>(i)));
  EXPECT_TRUE(w.holds(1, 5));
}

TEST(KvTiers, DamageIsFoundByTheBlockThatHasIt) {
  World w;
  w.save(20);
  {
    std::fstream file(w.path, std::ios::in | std::ios::out | std::ios::binary);
    const int last = w.layout.parts - 1;
    file.seekp(static_cast<std::streamoff>(w.layout.at(World::slot_of(4), last) + w.layout.filled_bytes(last) - 1));
    file.put('!');
    file.seekp(static_cast<std::streamoff>(w.layout.at(World::slot_of(11), 0)));
    file.put('!');
  }
  std::vector<KvCopy> copies;
  for (int i = 0; i < 20; ++i) copies.push_back(w.load(i, static_cast<BlockId>(i)));
  copies.push_back({World::slot_of(5), 40, kTierBlockTokens, Tier::disk, Tier::pool, key_of(77)});  // a slot that never held it
  w.run(copies);
  for (int l = 0; l < kLayers; ++l) w.tiers.policy()->before_layer(l);
  const std::vector<uint64_t> found = w.tiers.finish().lost;
  EXPECT_EQ(std::set<uint64_t>(found.begin(), found.end()), (std::set<uint64_t>{key_of(4)->hash, key_of(11)->hash, key_of(77)->hash}));
  for (int i = 0; i < 20; ++i)
    EXPECT_EQ(w.holds(static_cast<BlockId>(i), static_cast<uint64_t>(i)), i != 4 && i != 11) << i;
}

TEST(KvTiers, CopiesThatGoTogetherAreAsIfInTheirOrder) {
  World w;
  w.save(kHostSlots);
  std::vector<KvCopy> copies;
  const auto key = [](int i) { return key_of(static_cast<uint64_t>(i)); };
  for (int i = 0; i < kHostSlots; ++i) copies.push_back({World::slot_of(i), static_cast<BlockId>(kHostSlots - 1 - i), kTierBlockTokens, Tier::disk, Tier::host, key(i)});
  w.run(copies);
  EXPECT_TRUE(w.tiers.finish().lost.empty());
  // Each goes to both tiers, where others are on their way from and to those slots; the pool's blocks are written to at once.
  copies.clear();
  for (int i = 0; i < 10; ++i) {
    w.pool.put(static_cast<BlockId>(20 + i), bytes_of(static_cast<uint64_t>(100 + i), w.block_bytes).data());
    copies.push_back({static_cast<BlockId>(i), static_cast<BlockId>(40 + i), kTierBlockTokens, Tier::host, Tier::pool, key(kHostSlots - 1 - i)});
    copies.push_back({static_cast<BlockId>(20 + i), static_cast<BlockId>(i), kTierBlockTokens, Tier::pool, Tier::host, key(100 + i)});
    copies.push_back({static_cast<BlockId>(20 + i), static_cast<BlockId>(i), kTierBlockTokens, Tier::pool, Tier::disk, key(100 + i)});
  }
  for (int i = 0; i < 10; ++i) copies.push_back({static_cast<BlockId>(50), static_cast<BlockId>(20 + i), kTierBlockTokens});
  for (int i = 0; i < 10; ++i) copies.push_back({static_cast<BlockId>(i), static_cast<BlockId>(i), kTierBlockTokens, Tier::disk, Tier::pool, key(100 + i)});
  copies.push_back({5, 30, kTierBlockTokens});
  for (int i = 0; i < 10; ++i) copies.push_back({static_cast<BlockId>(i), static_cast<BlockId>(10 + i), kTierBlockTokens, Tier::host, Tier::pool, key(100 + i)});
  w.run(copies);
  EXPECT_TRUE(w.tiers.finish().lost.empty());
  for (int i = 0; i < 10; ++i) {
    EXPECT_TRUE(w.holds(static_cast<BlockId>(i), static_cast<uint64_t>(100 + i))) << "from disk";
    EXPECT_TRUE(w.holds(static_cast<BlockId>(10 + i), static_cast<uint64_t>(100 + i))) << "from host memory";
    EXPECT_TRUE(w.holds(static_cast<BlockId>(40 + i), static_cast<uint64_t>(kHostSlots - 1 - i))) << "what host memory had before";
    EXPECT_FALSE(w.holds(static_cast<BlockId>(20 + i), static_cast<uint64_t>(100 + i)));
  }
  EXPECT_TRUE(w.holds(30, 105));
}

TEST(KvTiers, WhatAFailingDiskDoesNotGiveIsNamedAndTheRestIsRight) {
  auto io = std::make_unique<test::FailingIo>(size_t{16} << 20, 11);
  test::FailingIo& device = *io;
  World w(std::move(io));
  w.save(30);
  size_t lost = 0, held = 0;
  for (const int one_in : {3, 10, 0})
    for (int round = 0; round < 4; ++round) {
      for (int i = 0; i < 30; ++i) w.pool.put(static_cast<BlockId>(i), std::vector<uint8_t>(w.block_bytes).data());
      device.fail_one_in(static_cast<uint64_t>(one_in));
      std::vector<KvCopy> copies;
      for (int i = 0; i < 10; ++i) copies.push_back({World::slot_of(i), static_cast<BlockId>(i), kTierBlockTokens, Tier::disk, Tier::host, key_of(static_cast<uint64_t>(i))});
      for (int i = 10; i < 30; ++i) copies.push_back(w.load(i, static_cast<BlockId>(i)));
      for (int i = 0; i < 10; ++i) copies.push_back({static_cast<BlockId>(i), static_cast<BlockId>(i), kTierBlockTokens, Tier::host, Tier::pool, key_of(static_cast<uint64_t>(i))});
      w.run(copies);
      const std::vector<uint64_t> found = w.tiers.finish().lost;
      const std::set<uint64_t> missing(found.begin(), found.end());
      for (int i = 0; i < 30; ++i) {
        if (missing.contains(key_of(static_cast<uint64_t>(i))->hash)) continue;
        EXPECT_TRUE(w.holds(static_cast<BlockId>(i), static_cast<uint64_t>(i))) << i;
      }
      lost += missing.size(), held += 30 - missing.size();
      EXPECT_TRUE(one_in > 0 || missing.empty());
    }
  EXPECT_GT(lost, 20u);
  EXPECT_GT(held, 150u);
}

}  // namespace
}  // namespace sluice
