#include "kv/prefix/hash_chain.h"
#include "kv/prefix/no_prefix_cache.h"
#include "kv/prefix/prefix_cache.h"
#include "kv/prefix/radix_tree.h"

namespace sluice {

std::span<const PrefixCacheEntry> prefix_cache_catalog() {
  static constexpr PrefixCacheEntry kEntries[] = {
      {"radix", "radix tree over blocks, LRU eviction of leaves",
       [](BlockPool& pool) -> std::unique_ptr<PrefixCache> { return std::make_unique<RadixTree>(pool); }},
      {"hash", "hash chain of full blocks, LRU eviction of chain ends",
       [](BlockPool& pool) -> std::unique_ptr<PrefixCache> { return std::make_unique<HashChain>(pool); }},
      {"none", "no sharing between requests",
       [](BlockPool&) -> std::unique_ptr<PrefixCache> { return std::make_unique<NoPrefixCache>(); }},
  };
  return kEntries;
}

}  // namespace sluice
