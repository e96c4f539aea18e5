#pragma once
// Paged KV: a sequence takes a block when its last one is full, wherever one is free; the adjoining one by preference,
// so that kernels stream. Wastes less than a block per sequence. Lossless. Paper: PagedAttention (Kwon et al., SOSP
// 2023), section 4.2.

#include <algorithm>

#include "kv/allocator/kv_allocator.h"

namespace sluice {

class PagedAllocator : public KvAllocator {
 public:
  explicit PagedAllocator(int block_tokens) : block_tokens_(block_tokens) {}

  int blocks_to_hold(int tokens) const override { return (tokens + block_tokens_ - 1) / block_tokens_; }
  std::optional<BlockRef> next(BlockPool& pool, const BlockTable& table) const override {
    if (!table.empty())
      if (const BlockId adjoining = table.ids().back() + 1; pool.is_free(adjoining)) return pool.take(adjoining);
    return pool.allocate();
  }

 private:
  int block_tokens_;
};

}  // namespace sluice
