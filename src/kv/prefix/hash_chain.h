#pragma once
// Hash chain of full blocks: H_i = hash(H_{i-1}, tokens_i), H_{-1} = hash(salt). Lossless.
// Paper: the automatic prefix caching of vLLM, after Kwon et al. (SOSP 2023), section 4.4. A hash only finds the
// candidate; its tokens and its parent are compared before it counts.

#include <set>
#include <unordered_map>

#include "kv/prefix/prefix_cache.h"

namespace sluice {

class HashChain final : public PrefixCache {
 public:
  explicit HashChain(BlockPool& pool) : pool_(pool), key_of_(static_cast<size_t>(pool.total())) {}
  ~HashChain() override;

  PrefixHit match(CacheSalt salt, std::span<const TokenId> tokens) const override;
  void commit(CacheSalt salt, const PrefixHit& hit, std::span<const TokenId> tokens) override;
  void insert(CacheSalt salt, std::span<const TokenId> tokens, int full_blocks, BlockTable& table) override;
  int evict(int blocks) override;
  int evictable() const override { return pool_.idle_cached(); }
  int size() const override { return static_cast<int>(entries_.size()); }
  bool consistent() const override;

 private:
  struct Entry {
    BlockRef block;
    std::vector<TokenId> tokens;
    uint64_t parent;    // its key, or root_block_hash(salt)
    int children = 0;
    uint64_t last_used = 0;  // of itself and of those below it that are gone: a use of a chain touches its last block only
  };

  const Entry* find(uint64_t key, uint64_t parent, std::span<const TokenId> block) const;
  void touch(uint64_t key, Entry& entry);

  BlockPool& pool_;
  std::unordered_map<uint64_t, Entry> entries_;
  std::vector<uint64_t> key_of_;  // by block, of those that are cached
  std::set<std::pair<uint64_t, uint64_t>> ends_;  // (last_used, key) of the entries without children
  uint64_t tick_ = 0;
};

}  // namespace sluice
