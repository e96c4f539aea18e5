#include "exec/kv_tiers.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <set>

#include "exec/kv_arena.h"
#include "kv/block_hash.h"

namespace sluice {
namespace {

constexpr int kBlocks = 60, kBlockTokens = 16, kLayers = 9;
const KvSpec kSpec{{{KvGroup::Kind::full, 0, kLayers - 1, 3, 40, 0}, {KvGroup::Kind::full, kLayers - 1, 1, 1, 64, 0}}};

std::shared_ptr<const BlockKey> key_of(uint64_t i) {
  std::vector<TokenId> tokens(kBlockTokens, static_cast<TokenId>(i));
  return std::make_shared<const BlockKey>(BlockKey{next_block_hash(i, tokens), i, tokens});
}

/// Byte by byte what block i holds.
std::vector<uint8_t> bytes_of(uint64_t i, size_t n) {
  std::vector<uint8_t> bytes(n);
  for (size_t b = 0; b < n; ++b) bytes[b] = static_cast<uint8_t>(b * 7 + b / 251 + i * 13);
  return bytes;
}

struct World {
  World() : path(::testing::TempDir() + "sluice_kv_tiers_" + std::to_string(::getpid())), pool(KvArena::allocate(kSpec, kKvF32, kBlocks, kBlockTokens).value()) {
    std::remove(path.c_str());
    block_bytes = KvArena::block_bytes(kSpec, kKvF32, kBlockTokens);
    const BlockFileIdentity identity{1, block_bytes, kBlockTokens};
    tiers = KvTiers::allocate(4, BlockFile::open(path, BlockFile::bytes_for(kBlocks, identity), identity).value(), block_bytes).value();
  }
  ~World() { std::remove(path.c_str()); }

  /// Puts blocks 0 to n - 1 to disk.
  void save(int n) {
    std::vector<KvCopy> copies;
    for (int i = 0; i < n; ++i) {
      pool.put(static_cast<BlockId>(i), bytes_of(static_cast<uint64_t>(i), block_bytes).data());
      copies.push_back({static_cast<BlockId>(i), static_cast<BlockId>(kBlocks - 1 - i), kBlockTokens, Tier::pool, Tier::disk, key_of(static_cast<uint64_t>(i))});
    }
    tiers.run(copies, pool);
    EXPECT_TRUE(tiers.finish().lost.empty());
    tiers.idle();
    for (int i = 0; i < kBlocks; ++i) pool.put(static_cast<BlockId>(i), std::vector<uint8_t>(block_bytes).data());
  }
  KvCopy load(int i, BlockId to) { return {static_cast<BlockId>(kBlocks - 1 - i), to, kBlockTokens, Tier::disk, Tier::pool, key_of(static_cast<uint64_t>(i))}; }
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
  size_t block_bytes = 0;
};

TEST(KvTiers, ALayersBytesAreThereWhenItBegins) {
  World w;
  w.save(30);
  for (const int n : {1, 7, 30}) {  // 30 blocks of several parts are more than may be in flight
    std::vector<KvCopy> copies;
    for (int i = 0; i < n; ++i) copies.push_back(w.load(i, static_cast<BlockId>(2 * i)));
    w.tiers.run(copies, w.pool);
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
  copies.push_back({35, 1, kBlockTokens});  // of one that has just been asked for
  w.tiers.run(copies, w.pool);
  EXPECT_TRUE(w.tiers.finish().lost.empty());
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(w.holds(static_cast<BlockId>(i + 30), static_cast<uint64_t>(i)));
  EXPECT_TRUE(w.holds(1, 5));
}

TEST(KvTiers, DamageIsFoundByTheBlockThatHasIt) {
  World w;
  w.save(20);
  const size_t slot_bytes = (w.block_bytes + 4095) / 4096 * 4096;
  {
    std::fstream file(w.path, std::ios::in | std::ios::out | std::ios::binary | std::ios::ate);
    const auto end = static_cast<size_t>(file.tellp());
    for (const size_t i : {3, 11}) {  // at the end of one, at the begin of another
      file.seekp(static_cast<std::streamoff>(end - (i + 1) * slot_bytes + (i == 3 ? w.block_bytes - 1 : 0)));
      file.put('!');
    }
  }
  std::vector<KvCopy> copies;
  for (int i = 0; i < 20; ++i) copies.push_back(w.load(i, static_cast<BlockId>(i)));
  copies.push_back({5, 40, kBlockTokens, Tier::disk, Tier::pool, key_of(77)});  // a slot that never held it
  w.tiers.run(copies, w.pool);
  for (int l = 0; l < kLayers; ++l) w.tiers.policy()->before_layer(l);
  const std::vector<uint64_t> found = w.tiers.finish().lost;
  EXPECT_EQ(std::set<uint64_t>(found.begin(), found.end()), (std::set<uint64_t>{key_of(3)->hash, key_of(11)->hash, key_of(77)->hash}));
  for (int i = 0; i < 20; ++i)
    EXPECT_EQ(w.holds(static_cast<BlockId>(i), static_cast<uint64_t>(i)), i != 3 && i != 11) << i;
}

}  // namespace
}  // namespace sluice
