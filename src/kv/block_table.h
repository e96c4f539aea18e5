#pragma once
// Logical to physical: block i of a sequence holds its slots [i * block_tokens, (i + 1) * block_tokens). A position stands in the
// slot of the same number, or, where the KV of earlier tokens was let go, so many before it.

#include <span>
#include <vector>

#include "kv/block_pool.h"

namespace sluice {

class BlockTable {
 public:
  int size() const { return static_cast<int>(refs_.size()); }
  bool empty() const { return refs_.empty(); }
  const BlockRef& operator[](int i) const { return refs_[i]; }
  std::span<const BlockRef> refs() const { return refs_; }
  /// The ids alone, as kernels read them; valid until the table changes.
  std::span<const BlockId> ids() const { return ids_; }

  void push(BlockRef ref) {
    ids_.push_back(ref.id());
    refs_.push_back(std::move(ref));
  }
  void replace(int i, BlockRef ref) {
    ids_[i] = ref.id();
    refs_[i] = std::move(ref);
  }
  /// From the end, so that the pool gives blocks again in the order that they had here.
  void truncate(int blocks) {
    while (size() > blocks) refs_.pop_back();
    ids_.resize(blocks);
  }
  void clear() {
    truncate(0);
    dropped_ = 0;
  }

  /// Tokens whose KV was let go (kv/retention).
  int dropped() const { return dropped_; }
  void set_dropped(int tokens) { dropped_ = tokens; }

 private:
  std::vector<BlockRef> refs_;
  std::vector<BlockId> ids_;
  int dropped_ = 0;
};

}  // namespace sluice
