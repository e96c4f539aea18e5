#pragma once
// The baseline: nothing is shared between requests.

#include "kv/prefix/prefix_cache.h"

namespace sluice {

class NoPrefixCache final : public PrefixCache {
 public:
  PrefixHit match(CacheSalt, std::span<const TokenId>) const override { return {}; }
  void commit(CacheSalt, const PrefixHit&, std::span<const TokenId>) override {}
  void insert(CacheSalt, std::span<const TokenId>, int, BlockTable&) override {}
  int evict(int) override { return 0; }
  int evictable() const override { return 0; }
  int size() const override { return 0; }
  bool consistent() const override { return true; }
};

}  // namespace sluice
