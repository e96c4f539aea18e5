// Every prefix cache against a brute-force model: the set of all token prefixes it must still know.

#include "kv/prefix/prefix_cache.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/rng.h"

namespace sluice {
namespace {

using Tokens = std::vector<TokenId>;

/// A sequence as the scheduler would drive it: hit, allocate the rest, publish, release.
struct Holder {
  CacheSalt salt;
  Tokens tokens;
  BlockTable table;
};

class PrefixCaches : public ::testing::TestWithParam<std::string_view> {
 protected:
  std::unique_ptr<PrefixCache> make(BlockPool& pool) {
    for (const PrefixCacheEntry& entry : prefix_cache_catalog())
      if (entry.name == GetParam()) return entry.make(pool);
    return nullptr;
  }
};

TEST_P(PrefixCaches, RandomUseAgreesWithBruteForce) {
  for (uint64_t seed = 0; seed < 60; ++seed) {
    Rng rng(seed);
    constexpr int kBlockTokens[] = {1, 2, 3, 8};
    const int block_tokens = kBlockTokens[rng.below(4)];
    BlockPool pool(static_cast<int>(rng.between(8, 60)), block_tokens);
    auto cache = make(pool);
    std::set<std::pair<CacheSalt, Tokens>> known;  // every published prefix of whole blocks, evicted ones removed
    std::vector<std::unique_ptr<Holder>> holders;
    const int vocab = static_cast<int>(rng.between(1, 3));
    for (int op = 0; op < 400; ++op) {
      if (rng.below(3) != 0 || holders.empty()) {
        auto h = std::make_unique<Holder>();
        h->salt = rng.below(5) == 0;
        const int length = static_cast<int>(rng.between(1, 6)) * block_tokens + static_cast<int>(rng.below(block_tokens));
        for (int i = 0; i < length; ++i) h->tokens.push_back(static_cast<TokenId>(rng.below(vocab)));
        PrefixHit hit = cache->match(h->salt, h->tokens);
        // The longest known prefix, by brute force.
        size_t longest = 0;
        for (size_t n = block_tokens; n <= h->tokens.size(); n += block_tokens)
          if (known.contains({h->salt, Tokens(h->tokens.begin(), h->tokens.begin() + n)})) longest = n / block_tokens;
          else break;
        ASSERT_EQ(hit.blocks.size(), longest);
        const int idle_before = pool.idle_cached();
        const PrefixHit again = cache->match(h->salt, h->tokens);  // match is pure
        ASSERT_EQ(again.blocks.size(), hit.blocks.size());
        ASSERT_EQ(pool.idle_cached(), idle_before);
        const int full = length / block_tokens;
        const int needed = full - static_cast<int>(hit.blocks.size());
        if (needed > pool.free() + cache->evictable()) continue;  // does not fit: as if not admitted
        cache->commit(h->salt, hit, h->tokens);
        for (BlockRef& b : hit.blocks) h->table.push(b);
        while (h->table.size() < full) {
          if (pool.free() == 0) {
            ASSERT_EQ(cache->evict(1), 1);
            std::erase_if(known, [&](const auto& k) {
              return cache->match(k.first, k.second).blocks.size() * block_tokens < k.second.size();
            });
          }
          h->table.push(*pool.allocate());
        }
        cache->insert(h->salt, h->tokens, full, h->table);
        for (int n = 1; n <= full; ++n) known.insert({h->salt, Tokens(h->tokens.begin(), h->tokens.begin() + n * block_tokens)});
        holders.push_back(std::move(h));
      } else {
        holders.erase(holders.begin() + static_cast<long>(rng.below(holders.size())));
      }
      ASSERT_TRUE(pool.consistent());
      ASSERT_TRUE(cache->consistent());
      // Everything evictable() promises can be freed, and nothing that a holder uses is.
      ASSERT_EQ(cache->evictable(), pool.idle_cached());
    }
    for (const auto& h : holders)
      for (int n = 1; n <= h->table.size(); ++n)
        ASSERT_EQ(cache->match(h->salt, std::span<const TokenId>(h->tokens).first(n * block_tokens)).blocks.size(), size_t(n));
    const int promised = cache->evictable();
    ASSERT_EQ(cache->evict(1 << 20), promised);
    ASSERT_EQ(cache->evictable(), 0);
    ASSERT_TRUE(cache->consistent());
    holders.clear();
    cache->evict(1 << 20);
    ASSERT_EQ(cache->size(), 0);
    ASSERT_EQ(pool.free(), pool.total());
  }
}

TEST_P(PrefixCaches, EvictsTheLeastRecentlyUsedLeafFirst) {
  BlockPool pool(16, 2);
  auto cache = make(pool);
  auto publish = [&](const Tokens& tokens) {
    BlockTable table;
    PrefixHit hit = cache->match(0, tokens);
    cache->commit(0, hit, tokens);
    for (BlockRef& b : hit.blocks) table.push(b);
    while (table.size() * 2 < static_cast<int>(tokens.size())) table.push(*pool.allocate());
    cache->insert(0, tokens, table.size(), table);
  };
  publish({1, 1, 2, 2, 3, 3});
  publish({1, 1, 2, 2, 4, 4});
  publish({5, 5});
  const Tokens first = {1, 1, 2, 2, 3, 3};
  cache->commit(0, cache->match(0, first), first);  // used again: now the youngest
  EXPECT_EQ(cache->evict(1), 1);
  EXPECT_EQ(cache->match(0, Tokens{1, 1, 2, 2, 4, 4}).blocks.size(), 2u) << "the oldest leaf goes first";
  EXPECT_EQ(cache->evict(1), 1);
  EXPECT_EQ(cache->match(0, Tokens{5, 5}).blocks.size(), 0u);
  EXPECT_EQ(cache->match(0, first).blocks.size(), 3u);
}

INSTANTIATE_TEST_SUITE_P(Catalog, PrefixCaches, ::testing::Values("radix", "hash"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace sluice
