#pragma once
// Contiguous virtual KV: every running sequence has a slot of address space for a whole context in every layer's K and
// V, backed on demand by page groups of one memfd. A block of the plan is a page group of all layers; where two
// sequences share it, its file offset is mapped twice. Kernels read a table that counts upwards. Lossless: the same
// bits as paged. Paper: vAttention (Prabhu et al., ASPLOS 2025); docs/adr/0010-kv-allocators.md says how it fits block
// tables.

#include <atomic>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include "exec/kv_store.h"

namespace sluice {

class VirtualArena final : public KvStore {
 public:
  /// The least tokens of which every layer's K takes whole pages, whole tiles, and at least `group_bytes`.
  static int page_group_tokens(const KvSpec& spec, const KvFormat& format, int tile_tokens, size_t group_bytes);
  /// `options.block_tokens` is page_group_tokens() or a multiple. Errors: no address space, or more page groups than
  /// the kernel keeps mappings.
  static Result<std::unique_ptr<VirtualArena>> open(const KvSpec& spec, const KvFormat& format,
                                                    const KvStoreOptions& options);
  ~VirtualArena() override;

  std::span<const KvLayerView> layers() const override { return views_; }
  void copy(const KvCopy& copy) override;
  bool get(BlockId block, uint8_t* bytes) override;
  void put(BlockId block, const uint8_t* bytes) override;
  void get_part(BlockId block, size_t at, std::span<uint8_t> bytes) const override;
  void put_part(BlockId block, size_t at, std::span<const uint8_t> bytes) override;
  void prepare(const StepPlan& plan) override;
  std::span<const BlockId> table(const StepPlan& plan, size_t item) const override;

  /// In page groups of all layers.
  struct Counts {
    uint64_t mapped_on_path = 0;  // while a step waited
    uint64_t mapped_ahead = 0;    // by the thread
    uint64_t reused = 0;          // found in place by a sequence that took over a slot
    uint64_t unmapped = 0;        // of idle slots, under pressure
    uint64_t unmapped_items = 0;  // items that ran on the file's own order, since no mapping was left
    Nanos map_ns = 0;             // in mmap, on and off the path
  };
  Counts counts() const;
  /// Pages that are backed, of the whole file.
  size_t physical_bytes() const;
  size_t group_bytes() const { return group_bytes_; }  // of all layers

 private:
  struct Layer {
    uint8_t* base[2];    // K, V: the file's own order, then the slots
    size_t block_bytes;  // of one of them
    size_t file_offset[2];
  };
  struct Slot {
    SeqId seq = kNoSeq;
    uint64_t last_step = 0;
    std::vector<BlockId> mapped;  // by page group; kNoBlock: none
    int groups = 0;               // of `mapped`, how many are
  };
  struct Ahead {
    int slot, group;
    BlockId block;
  };

  VirtualArena() = default;
  Status reserve(const KvSpec& spec, const KvFormat& format);
  uint8_t* address(const Layer& layer, int kv, int slot, int group) const;
  int slot_for(SeqId seq, std::span<const BlockId> blocks);
  /// Under mutex_. False when the kernel has no mapping left.
  bool map(int slot, int group, BlockId block);
  bool relieve();
  void unmap(Slot& slot, int index);
  void map_ahead(std::stop_token stop);

  KvStoreOptions options_;
  int fd_ = -1;
  uint8_t* space_ = nullptr;
  size_t space_bytes_ = 0, file_bytes_ = 0, group_bytes_ = 0;
  int context_groups_ = 0;  // of a slot
  int tiles_per_block_ = 0;
  int most_groups_ = 0;  // that may be mapped at once
  std::vector<Layer> layers_;
  std::vector<KvLayerView> views_;
  std::vector<std::vector<BlockId>> slot_tables_;  // by slot: a table that counts upwards
  std::vector<int> item_slots_;                    // of the plan in hand, by item; -1: on the file's own order
  std::map<size_t, std::vector<BlockId>> unmapped_tables_;
  uint64_t step_ = 0;

  mutable std::mutex mutex_;  // guards what stands below
  std::condition_variable_any wake_;
  std::vector<Slot> slots_;
  std::map<SeqId, int> slot_of_;
  std::deque<Ahead> ahead_;
  int mapped_groups_ = 0;
  Counts counts_;
  std::jthread thread_;
};

}  // namespace sluice
