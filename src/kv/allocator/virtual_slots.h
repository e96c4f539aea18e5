#pragma once
// Paged over page groups, with one look-ahead: near the end of its last page group a sequence takes the next one, so
// that it is mapped before the sequence gets there (exec/virtual_arena.h). Lossless. Paper: vAttention (Prabhu et al.,
// ASPLOS 2025).

#include "kv/allocator/paged.h"

namespace sluice {

class VirtualSlots final : public PagedAllocator {
 public:
  using PagedAllocator::PagedAllocator;
  int look_ahead_tokens() const override { return 32; }
};

}  // namespace sluice
