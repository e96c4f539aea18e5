#pragma once
// The seam of KV allocation: how many blocks a sequence holds, and which (docs/adr/0010-kv-allocators.md). Metadata
// only.

#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "kv/block_pool.h"

namespace sluice {

struct KvAllocator {
  virtual ~KvAllocator() = default;
  /// Blocks that a sequence holds once `tokens` positions are computed: at least those that they take, and never more
  /// than a whole context takes.
  virtual int blocks_to_hold(int tokens) const = 0;
  /// A sequence takes the block of a position so many tokens ahead, if one is free or evictable after all that the step
  /// needs: nobody is preempted for it.
  virtual int look_ahead_tokens() const { return 0; }
  /// The block that follows these in a sequence; nothing when all are in use.
  virtual std::optional<BlockRef> next(BlockPool& pool, std::span<const BlockId> before) const = 0;
  /// Whether next() finds a good block; where it does not, the prefix cache gives way first.
  virtual bool finds(const BlockPool& pool, std::span<const BlockId>) const { return pool.free() > 0; }
  /// Whether sequences may hold the same block: without, there is no prefix cache, and a fork computes everything anew.
  virtual bool shares() const { return true; }
  /// Whether a sequence may need more blocks than it was admitted with, for which admission leaves some free.
  virtual bool grows() const { return true; }
};

struct AllocatorOptions {
  int block_tokens = 16;
  int max_model_len = 2048;
};

/// One line per technique; `--kv-allocator NAME`.
struct KvAllocatorEntry {
  std::string_view name, help;
  std::unique_ptr<KvAllocator> (*make)(const AllocatorOptions& options);
  bool page_groups =
      false;  // a block is a page group: its size follows from the model, and may be above --block-size's limit
};
std::span<const KvAllocatorEntry> kv_allocator_catalog();

}  // namespace sluice
