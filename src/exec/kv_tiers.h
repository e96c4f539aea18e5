#pragma once
// The bytes of the tiers beside the pool: slots in host memory, and a file of blocks. Does what a plan's copies say.

#include <deque>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "base/thread_pool.h"
#include "exec/block_file.h"
#include "exec/kv_store.h"

namespace sluice {

class KvTiers final : private LayerPolicy {
 public:
  /// `file` may be null. Address space for the host slots; pages are touched when slots are first written.
  static Result<KvTiers> allocate(int host_slots, std::unique_ptr<BlockFile> file, size_t block_bytes);
  KvTiers() = default;

  struct Done {
    Nanos load_ns = 0;           // waiting for blocks to come into the pool
    Nanos load_span_ns = 0;      // from asking for those on disk until they were all there
    std::vector<uint64_t> lost;  // keys that could not be written or read back
  };
  /// As if in their order, copies within the pool too. What comes from disk into the pool is there after finish(); what goes to disk or comes
  /// from there to host memory may still be on its way even then. `threads` share in gathering what is saved.
  void run(std::span<const KvCopy> copies, KvStore& pool, ThreadPool& threads);
  /// For the forward pass between the two: brings every layer's bytes before that layer begins, while earlier ones compute
  /// (CachedAttention, Gao et al., USENIX ATC 2024, 3.2.1). Null where nothing is on its way.
  LayerPolicy* policy() { return loads_.empty() ? nullptr : this; }
  /// Then the pool holds what it should, but for blocks that are lost: only here are their bytes compared with their checksums.
  Done finish();

  /// Waits for the writes in flight, so that what was saved is on disk whatever becomes of this process.
  void idle();

  std::span<const RecoveredBlock> recovered() const;

 private:
  /// Blocks on their way from slots of the disk that follow each other to host memory.
  struct Fetch {
    std::vector<KvCopy> copies;
    std::vector<BlockContent> expected;
    std::vector<BlockFile::Ticket> tickets;  // by part
  };
  struct HostSlot {
    bool coming = false;  // a Fetch is on its way here
    bool good = false;
  };
  /// A block on its way from disk into the pool.
  struct Load {
    BlockId slot, dst;
    std::shared_ptr<const BlockKey> key;
    BlockCheck check;
  };
  /// Of loads_, those whose slots follow each other and are read together.
  struct Run {
    size_t first;
    int blocks;
  };

  uint8_t* host(BlockId slot) { return host_.data() + block_bytes_ * slot; }
  /// Whether the copy is to be made together with those that wait.
  bool joins(const KvCopy& copy) const;
  /// Starts what waits to be made together, those of adjoining slots of the disk in one.
  void flush();
  void start_save(std::span<const KvCopy> run);
  void start_fetch(std::span<const KvCopy> run);
  /// The oldest fetch to host memory arrives.
  void land_fetch();
  void land_host_slot(BlockId slot);
  void add_load(const KvCopy& copy) { loads_.push_back({copy.src, copy.dst, copy.key, BlockCheck({}, 0)}); }
  void begin_loads();
  void end_loads();
  /// Asks for more parts, as many as may be in flight; takes those that have come.
  void pump();
  void land_part();
  /// Waits until the first `parts` of all loads have landed.
  void land_parts(size_t parts);
  void before_layer(int layer) override;
  void before_attention(const LayerView&) override { pump(); }
  void after_attention(int) override { pump(); }
  /// What the n-th request of all loads is about: each run's first part before each one's second, or where the pool takes
  /// whole blocks all parts of a run before the next one's.
  struct Part {
    Run run;
    int part;
  };
  Part nth(size_t n) const;
  size_t requests() const { return runs_.size() * static_cast<size_t>(file_->layout().parts); }

  size_t block_bytes_ = 0;
  Buffer host_;
  std::vector<HostSlot> slots_;
  std::unique_ptr<BlockFile> file_;
  std::vector<KvCopy> together_;  // all to disk, or all from it to host memory
  std::deque<Fetch> fetches_;     // oldest first
  KvStore* pool_ = nullptr;
  ThreadPool* threads_ = nullptr;
  std::vector<uint8_t> whole_;    // blocks of a pool that does not take parts
  std::vector<Load> loads_;
  std::vector<Run> runs_;
  size_t asked_ = 0, landed_ = 0;          // requests
  std::deque<BlockFile::Ticket> tickets_;  // of those between `landed_` and `asked_`
  Nanos loads_begin_ = 0;
  Done done_;
  RealClock clock_;
  Nanos next_warning_ = 0;  // not one a step
};

}  // namespace sluice
