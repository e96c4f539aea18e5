#pragma once
// The bytes of the tiers beside the pool: slots in host memory, and a file of blocks. Does what a plan's copies say.

#include <memory>
#include <vector>

#include "base/clock.h"
#include "exec/block_file.h"
#include "exec/kv_store.h"

namespace sluice {

class KvTiers {
 public:
  /// `file` may be null. Address space for the host slots; pages are touched when slots are first written.
  static Result<KvTiers> allocate(int host_slots, std::unique_ptr<BlockFile> file, size_t block_bytes);
  KvTiers() = default;

  struct Done {
    Nanos load_ns = 0;           // waiting for blocks to come into the pool
    std::vector<uint64_t> lost;  // keys that could not be written or read back
  };
  /// As if in their order, copies within the pool too. When it returns, the pool holds what it should, but for blocks that are lost; what
  /// goes to disk or comes from there to host memory may still be on its way.
  Done run(std::span<const KvCopy> copies, KvStore& pool);

  /// Waits for the writes in flight, so that what was saved is on disk whatever becomes of this process.
  void idle();

  std::span<const RecoveredBlock> recovered() const;

 private:
  /// A read in flight, and where its bytes go.
  struct Read {
    BlockFile::Ticket ticket;
    std::shared_ptr<const BlockKey> key;
    Tier to;
    BlockId dst;
  };
  struct HostSlot {
    bool coming = false;  // a Read is on its way here
    bool good = false;
  };

  uint8_t* host(BlockId slot) { return host_.data() + block_bytes_ * slot; }
  void start_read(const KvCopy& copy, KvStore& pool, Done& done);
  /// The oldest read arrives.
  void land_one(KvStore& pool, Done& done);
  void land_host_slot(BlockId slot, KvStore& pool, Done& done);

  size_t block_bytes_ = 0;
  Buffer host_;
  std::vector<HostSlot> slots_;
  std::unique_ptr<BlockFile> file_;
  std::vector<Read> reads_;  // oldest first
  RealClock clock_;
  Nanos next_warning_ = 0;  // not one a step
};

}  // namespace sluice
