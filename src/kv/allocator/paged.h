#pragma once
// Paged KV: a sequence takes a block when its last one is full, wherever one is free; the adjoining one by preference,
// so that kernels stream. Wastes less than a block per sequence. Lossless. Paper: PagedAttention (Kwon et al., SOSP
// 2023), section 4.2.
//
// Of small blocks, down to single tokens (LightLLM's TokenAttention), it prefers what makes a sequence's clusters whole (docs/adr/0021).
// What is left of a cluster is nobody's, so that nothing is wasted.

#include <algorithm>

#include "kv/allocator/kv_allocator.h"

namespace sluice {

class PagedAllocator : public KvAllocator {
 public:
  explicit PagedAllocator(int block_tokens) : block_tokens_(block_tokens) {}

  int blocks_to_hold(int tokens) const override { return (tokens + block_tokens_ - 1) / block_tokens_; }
  std::optional<BlockRef> next(BlockPool& pool, std::span<const BlockId> before) const override { return pool.allocate(after(pool, before)); }
  bool finds(const BlockPool& pool, std::span<const BlockId> before) const override { return pool.finds(after(pool, before)); }

 private:
  /// A cluster holds 16 positions that begin at a multiple of 16.
  static BlockPool::Spot after(const BlockPool& pool, std::span<const BlockId> before) {
    return {before.empty() ? kNoBlock : before.back(), static_cast<BlockId>(before.size()) % static_cast<BlockId>(pool.cluster())};
  }

  int block_tokens_;
};

}  // namespace sluice
