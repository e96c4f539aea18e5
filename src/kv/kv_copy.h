#pragma once
// Bytes to move, as metadata: the scheduler says what, the executor moves it.

#include <cstdint>
#include <memory>
#include <vector>

#include "base/ids.h"

namespace sluice {

/// Where a block's bytes are: in the pool that attention reads, in memory beside it, or on disk.
enum class Tier : uint8_t { pool, host, disk };

/// What the KV of one full block was computed from. Two blocks hold the same bits exactly when their keys are equal.
struct BlockKey {
  uint64_t hash = 0;    // of parent and tokens
  uint64_t parent = 0;  // hash of the block before it; of the salt, for the first one
  std::vector<TokenId> tokens;
};

/// `tokens` slots of every layer from one place to another. Ids in the pool are blocks, in the other tiers slots that
/// hold one block each. Within the pool the slots may begin anywhere in their blocks, and the keys may be rotated to other
/// positions on the way.
struct KvCopy {
  BlockId src = kNoBlock, dst = kNoBlock;
  int tokens = 0;
  Tier from = Tier::pool, to = Tier::pool;
  std::shared_ptr<const BlockKey> key = {};  // where another tier takes part
  int src_offset = 0, dst_offset = 0;        // of the first slot in its block
  int shift = 0;                             // positions by which the keys are rotated further
  BlockId src_page = 0, dst_page = 0;        // within the pool, of layers whose KV is in pages (kv/recent_pages.h)
};

/// A sequence lets go of the KV of some of its tokens: of the slots of its table, `slots_before`, every layer and KV head keeps
/// `slots_after` of its own choice, which move to the front in their order.
struct KvEviction {
  SeqId seq = kNoSeq;
  int next_position = 0;  // all below were computed
  int slots_before = 0, slots_after = 0;
  std::vector<BlockId> blocks;  // the table before; its tail is free afterwards
};

}  // namespace sluice
