#pragma once
// Finds tokens that the prefix cache holds in the middle of a prompt: of a conversation whose oldest turns were cut, what is left. Approximate
// where it is used: that KV has seen what was cut.
// Paper: AttentionStore / CachedAttention (Gao et al., USENIX ATC 2024), section 3.4, "decoupled KV cache truncation". It stores keys before
// they are rotated; here they are rotated further by as much as they move, which is the same but for rounding.

#include <optional>
#include <unordered_map>

#include "kv/prefix/prefix_cache.h"

namespace sluice {

/// Full blocks that one prompt left in the cache, one after the other.
struct KeptRun {
  std::vector<BlockRef> blocks;  // pinned
  std::vector<BlockRef> above;   // what stands before them in that prompt: pinned too, since a prefix cache evicts from the end
  int position = 0;              // of its first token, where it was computed
  int block_tokens = 0;
};

class HistoryIndex {
 public:
  explicit HistoryIndex(BlockPool& pool) : pool_(pool), records_(static_cast<size_t>(pool.total())) {}

  /// The table's first blocks, all of them cached, hold the KV of these tokens from position 0 on.
  void note(CacheSalt salt, std::span<const TokenId> tokens, int full_blocks, const BlockTable& table);
  /// The block is cached for something else.
  void forget(BlockId id);
  /// The longest run that begins with these tokens; tokens are compared. Nothing where not even a block is held.
  std::optional<KeptRun> find(CacheSalt salt, std::span<const TokenId> tokens) const;

 private:
  /// What a block was last published for. Stale once the block is no longer cached.
  struct Record {
    CacheSalt salt = 0;
    uint64_t hash = 0;
    std::vector<TokenId> tokens;
    int position = 0;
    BlockId before = kNoBlock;
  };
  static uint64_t hash_of(CacheSalt salt, std::span<const TokenId> block) { return next_block_hash(root_block_hash(salt), block); }
  bool holds(BlockId id, CacheSalt salt, std::span<const TokenId> block) const;

  BlockPool& pool_;
  std::vector<Record> records_;  // by block
  std::unordered_multimap<uint64_t, BlockId> blocks_;  // by the hash of their own tokens
};

}  // namespace sluice
