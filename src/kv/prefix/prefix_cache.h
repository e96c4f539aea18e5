#pragma once
// The seam of prefix caches: blocks that hold the KV of known token prefixes, shared by finished and running sequences.

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/event.h"
#include "kv/block_hash.h"
#include "kv/block_pool.h"
#include "kv/block_table.h"

namespace sluice {

/// A confirmed hit. Holding it pins its blocks.
struct PrefixHit {
  std::vector<BlockRef> blocks;  // full blocks from position 0
};

class SegmentCache;

struct PrefixCache : Observer {
  /// The longest cached run of full blocks that starts at position 0. Pure: it touches no recency and no counter, since
  /// it is repeated on every failed admission. Tokens are compared; a hash alone never makes a hit.
  virtual PrefixHit match(CacheSalt salt, std::span<const TokenId> tokens) const = 0;
  /// The hit was used: refreshes its recency.
  virtual void commit(CacheSalt salt, const PrefixHit& hit, std::span<const TokenId> tokens) = 0;
  /// Publishes the table's first `full_blocks` blocks, computed for `tokens`. Where an equal block is already cached the
  /// table is switched to it, so that a sequence always pins the whole cached path below its own blocks.
  virtual void insert(CacheSalt salt, std::span<const TokenId> tokens, int full_blocks, BlockTable& table) = 0;
  /// Frees up to `blocks` blocks that nobody else holds, least recently used leaves first; returns how many.
  virtual int evict(int blocks) = 0;
  /// How many blocks evict() could free now.
  virtual int evictable() const = 0;
  /// Blocks held in all.
  virtual int size() const = 0;
  /// Checks the structure against the pool.
  virtual bool consistent() const = 0;
  /// The store of segments that are no prefixes, where there is one (segment_cache.h).
  virtual SegmentCache* segments() { return nullptr; }
};

/// One line per technique; `--prefix-cache NAME`.
struct PrefixCacheEntry {
  std::string_view name, help;
  std::unique_ptr<PrefixCache> (*make)(BlockPool& pool);
};
std::span<const PrefixCacheEntry> prefix_cache_catalog();

}  // namespace sluice
