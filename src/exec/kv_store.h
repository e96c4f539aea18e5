#pragma once
// The bytes of the KV cache, and how kernels find a sequence's: what lies under a block
// (docs/adr/0010-kv-allocators.md).

#include <memory>
#include <span>

#include "backend/ops.h"
#include "kv/kv_copy.h"
#include "kv/kv_spec.h"
#include "sched/step_plan.h"

namespace sluice {

class KvStore {
 public:
  virtual ~KvStore() = default;
  /// Of every layer, in tiles as kernels read them: a plan's block is one of these, or several.
  virtual std::span<const KvLayerView> layers() const = 0;
  /// Copies the first `copy.tokens` slots of every layer and head from one block of a plan to another.
  virtual void copy(const KvCopy& copy) = 0;
  /// A whole block, out of the pool and into it: the bytes of one block, layer by layer.
  virtual void get(BlockId block, uint8_t* bytes) const = 0;
  virtual void put(BlockId block, const uint8_t* bytes) = 0;
  /// Makes the blocks of all items reachable; before a step.
  virtual void prepare(const StepPlan&) {}
  /// The table of an item of the plan that was prepared, in blocks of layers().
  virtual std::span<const BlockId> table(const StepPlan& plan, size_t item) const { return plan.items[item].blocks; }
};

struct KvStoreOptions {
  std::string_view allocator = "paged";  // --kv-allocator
  int blocks = 0, block_tokens = 16;     // of the pool
  // Of virtual: tokens of a kernel's tile, which divide a block, sequences that run at once, and the longest.
  int tile_tokens = 16, slots = 256, max_model_len = 2048;
  int most_groups = 0;  // page groups mapped at once; 0: as many as vm.max_map_count allows
};
Result<std::unique_ptr<KvStore>> open_kv_store(const KvSpec& spec, const KvFormat& format,
                                               const KvStoreOptions& options);

}  // namespace sluice
