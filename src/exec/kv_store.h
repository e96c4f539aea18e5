#pragma once
// The bytes of the KV cache, and how kernels find a sequence's: what lies under a block
// (docs/adr/0010-kv-allocators.md).

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backend/ops.h"
#include "kv/kv_copy.h"
#include "kv/kv_spec.h"
#include "model/layer_policy.h"
#include "quant/kv/kv_formats.h"
#include "sched/step_plan.h"

namespace sluice {

class KvStore {
 public:
  virtual ~KvStore() = default;
  /// Of every layer, in tiles as kernels read them: a plan's block is one of these, or several.
  virtual std::span<const KvLayerView> layers() const = 0;
  /// Copies `copy.tokens` slots of every layer and head, from its offsets on, from one block of a plan to another.
  virtual void copy(const KvCopy& copy) = 0;
  /// A whole block, out of the pool and into it: the bytes of one block, layer by layer.
  /// get() is false where the bytes are lost.
  virtual bool get(BlockId block, uint8_t* bytes) = 0;
  virtual void put(BlockId block, const uint8_t* bytes) = 0;
  /// Bytes [at, at + bytes.size()) of one, where in_parts(). get_part() may be called by several threads at once; put_part() during a forward
  /// pass too, of layers that have not begun.
  virtual void get_part(BlockId block, size_t at, std::span<uint8_t> bytes) const = 0;
  virtual void put_part(BlockId block, size_t at, std::span<const uint8_t> bytes) = 0;
  virtual bool in_parts() const { return true; }
  /// Makes the blocks of all items reachable; before a step, and before its copies.
  virtual void prepare(const StepPlan&) {}
  /// All rows of the plan have been computed.
  virtual void finish(const StepPlan&) {}
  /// The table of an item of the plan that was prepared, in blocks of layers().
  virtual std::span<const BlockId> table(const StepPlan& plan, size_t item) const { return plan.items[item].blocks; }
  /// What is to look on in every forward pass; null: nothing.
  virtual LayerPolicy* policy() { return nullptr; }
  /// After a step: why what was computed of an item is not to be used; empty: it is.
  virtual std::string item_error(const PlanItem&) const { return {}; }
  /// Since the start.
  virtual OffloadTraffic traffic() const { return {}; }
};

/// Layers of which some KV is in a file, and comes from there for every step (exec/layered_arena.h).
struct KvOffload {
  std::vector<int> layers;  // ascending; empty: everything is in memory
  double share = 1;         // of each one's blocks
  std::string path;         // a folder
  int depth = 1;            // layers that are read ahead
};

struct KvStoreOptions {
  std::string_view allocator = "paged";  // --kv-allocator
  int blocks = 0, block_tokens = 16;     // of the pool
  // Of virtual: tokens of a kernel's tile, which divide a block, sequences that run at once, and the longest.
  int tile_tokens = 16, slots = 256, max_model_len = 2048;
  int most_groups = 0;  // page groups mapped at once; 0: as many as vm.max_map_count allows
  KvOffload offload = {};  // of the others
  int open_blocks = 0;  // of block formats: how many may be open at once; 0: all
  int pages = 0;  // of paged: for layers that read the last tokens only (kv/recent_pages.h); 0: none
};
/// Of a block format, `open_blocks` that are never exceeded: one for each running sequence, and one for each block that a
/// step's rows touch.
int most_open_blocks(int max_num_seqs, int max_num_batched_tokens, int block_tokens, int blocks);
Result<std::unique_ptr<KvStore>> open_kv_store(const KvSpec& spec, const KvFormats& formats,
                                               const KvStoreOptions& options);

}  // namespace sluice
