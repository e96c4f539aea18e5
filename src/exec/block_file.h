#pragma once
// Blocks of KV on disk: one file of fixed size with a slot per block. Reads and writes are asynchronous through io_uring
// (direct I/O where the file system can), or synchronous where the kernel refuses it.
//
// Layout, little endian: a header page; an index entry per slot {hash, parent, checksum of the bytes, tokens}; the slots'
// bytes, from a page boundary on. A slot's entry is written when the end of its write is noticed, at the latest when the engine is idle. Whatever a crash leaves half
// written has a checksum that does not fit, and is not given out.

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "exec/async_io.h"
#include "kv/tier/tier_index.h"
#include "tensor/buffer.h"

namespace sluice {

/// What must be equal for the bytes to mean the same.
struct BlockFileIdentity {
  uint64_t fingerprint = 0;  // of the model, its arithmetic and the KV format
  size_t block_bytes = 0;
  int block_tokens = 0;
};

class BlockFile {
 public:
  /// Opens or makes the file, of as many slots as fit into `bytes`, and reserves the space. Errors: the file is no KV file, is one of another
  /// model, or another process has it open (invalid_argument); the disk has no room (resource_exhausted); io.
  static Result<std::unique_ptr<BlockFile>> open(const std::string& path, size_t bytes, const BlockFileIdentity& identity);
  static int slots_for(size_t bytes, const BlockFileIdentity& identity);
  /// The size of a file of so many slots.
  static size_t bytes_for(int slots, const BlockFileIdentity& identity);
  /// Of memory, for what is on its way.
  static size_t staging_bytes(size_t block_bytes);
  ~BlockFile();

  /// What the file held when it was opened, from the slots that are still there.
  std::span<const RecoveredBlock> recovered() const { return recovered_; }
  int slots() const { return slots_; }
  const std::string& path() const { return path_; }
  bool asynchronous() const;

  /// A buffer of block_bytes for the next write(): to be filled before any other call.
  uint8_t* stage();
  /// Starts to write what was staged.
  void write(BlockId slot, std::shared_ptr<const BlockKey> key);

  using Ticket = int;
  /// So many may be neither released nor waited for at once; the rest are kept for writes.
  static constexpr int kReadsAtOnce = 48;
  /// Starts to read a slot that should hold the block of this key.
  Ticket read(BlockId slot, std::shared_ptr<const BlockKey> key);
  /// The same of `n` bytes from `at` on, multiples of a page, or to the block's end. Nobody compares them: who has read all
  /// parts asks whether what they make is what() the slot held when the first one was read.
  Ticket read_part(BlockId slot, size_t at, size_t n);
  /// Waits for what is in flight of a slot; before the first part.
  void wait_until_idle(BlockId slot);
  /// Of the block in a slot: its key's hash, and the XXH3 of its bytes.
  struct Content {
    uint64_t hash = 0, checksum = 0;
    bool operator==(const Content&) const = default;
  };
  Content what(BlockId slot) const { return contents_[slot]; }
  /// Whether wait() would return at once.
  bool ended(Ticket ticket);
  /// Waits; the bytes, or null where they are not those of the key or could not be read. Valid until release().
  const uint8_t* wait(Ticket ticket);
  void release(Ticket ticket);

  /// Keys whose write has failed since the last call.
  std::vector<uint64_t> take_failures();
  /// Takes note of what has ended, without waiting: only then is a slot's entry written.
  void reap();
  /// Waits for everything in flight.
  void drain();

 private:
  struct Request;
  explicit BlockFile(const BlockFileIdentity& identity);
  int take_request();
  Ticket start_read(BlockId slot, std::shared_ptr<const BlockKey> key, size_t at, size_t size);
  void start(int request);
  void wait_for_one();
  void finish(const IoDone& done);
  void write_entry(BlockId slot, const BlockKey* key, uint64_t checksum);
  size_t entry_bytes() const;
  Status read_index();

  BlockFileIdentity identity_;
  std::string path_;
  int fd_ = -1;  // of the index, which is buffered
  int slots_ = 0;
  size_t data_at_ = 0, slot_bytes_ = 0;
  std::vector<RecoveredBlock> recovered_;
  std::vector<Content> contents_;    // by slot, as far as is known
  Buffer memory_;                    // of all requests
  std::unique_ptr<AsyncIo> io_;      // of the slots
  std::vector<Request> requests_;
  std::vector<int> free_requests_;
  std::vector<int> in_flight_;       // requests by slot: one write, or reads
  std::vector<uint64_t> failures_;
  int flying_ = 0, staged_ = -1;
};

}  // namespace sluice
