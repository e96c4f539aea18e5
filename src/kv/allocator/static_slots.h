#pragma once
// Static pre-allocation: a sequence takes adjoining blocks for a whole context when it is admitted, and keeps them. The
// baseline of what paging saves: of its blocks, some wait for tokens that will come (reservation), some for tokens that
// never come (internal waste), and what is left of the pool fits no further context (external). Lossless.
// Source: FasterTransformer and Orca, as PagedAttention (Kwon et al., SOSP 2023) describes them in section 3.1.

#include "kv/allocator/kv_allocator.h"

namespace sluice {

class StaticSlots final : public KvAllocator {
 public:
  explicit StaticSlots(const AllocatorOptions& o) : slot_((o.max_model_len + o.block_tokens - 1) / o.block_tokens) {}

  int blocks_to_hold(int tokens) const override { return tokens > 0 ? slot_ : 0; }
  /// All blocks of a slot are taken, and released, together: one that is free stands for its slot.
  std::optional<BlockRef> next(BlockPool& pool, std::span<const BlockId> before) const override {
    if (!before.empty()) return pool.take(before.back() + 1);
    const std::optional<BlockId> any = pool.peek();
    if (!any || (*any / slot_ + 1) * slot_ > static_cast<BlockId>(pool.total())) return std::nullopt;
    return pool.take(*any / slot_ * slot_);
  }
  bool shares() const override { return false; }
  bool grows() const override { return false; }

 private:
  BlockId slot_;  // blocks
};

}  // namespace sluice
