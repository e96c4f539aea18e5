#pragma once
// Blocks of KV on disk: one file of fixed size with a slot per block. Reads and writes are asynchronous through io_uring
// (direct I/O where the file system can), or synchronous where the kernel refuses it. Blocks in slots that follow each
// other are moved together, part by part (block_layout.h).
//
// A slot's entry in the index is written when the end of its write is noticed, at the latest when the engine is idle. Whatever a crash leaves half
// written has a checksum that does not fit, and is not given out. A request for several blocks that fails is made again for
// each of them, so that only those are lost which cannot be had.

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "exec/async_io.h"
#include "exec/block_index.h"
#include "exec/block_layout.h"
#include "kv/tier/tier_index.h"
#include "tensor/buffer.h"

struct XXH3_state_s;

namespace sluice {

/// What must be equal for the bytes to mean the same.
struct BlockFileIdentity {
  uint64_t fingerprint = 0;  // of the model, its arithmetic and the KV format
  size_t block_bytes = 0;
  int block_tokens = 0;
};

/// Of a block that comes part by part: whether it is the one that was asked for.
class BlockCheck {
 public:
  /// `expected` of the slot when the first part was asked for, `hash` of the key.
  BlockCheck(BlockContent expected, uint64_t hash);
  void add(std::span<const uint8_t> bytes);
  /// A part could not be read.
  void fail() { good_ = false; }
  /// Not yet known to be another one, or damaged.
  bool so_far() const { return good_; }
  /// When all parts have been added.
  bool good() const;

 private:
  bool good_;
  uint64_t checksum_;
  std::shared_ptr<XXH3_state_s> state_;
};

class BlockFile {
 public:
  /// Opens or makes the file, of as many slots as fit into `bytes`, and reserves the space. Errors: the file is no KV file, is one of another
  /// model, or another process has it open (invalid_argument); the disk has no room (resource_exhausted); io.
  /// `io`: over a device of one's own, at the offsets of layout(); null: over the file itself.
  static Result<std::unique_ptr<BlockFile>> open(const std::string& path, size_t bytes, const BlockFileIdentity& identity,
                                                 std::unique_ptr<AsyncIo> io = nullptr);
  static int slots_for(size_t bytes, const BlockFileIdentity& identity);
  /// The size of a file of so many slots.
  static size_t bytes_for(int slots, const BlockFileIdentity& identity);
  /// Of memory, for what is on its way.
  static size_t staging_bytes(size_t block_bytes);
  ~BlockFile();

  /// What the file held when it was opened, from the slots that are still there.
  std::span<const RecoveredBlock> recovered() const { return recovered_; }
  int slots() const { return layout_.slots; }
  /// By which its blocks are found (TierConfig::prefix_key): drawn when the file was made.
  uint64_t prefix_key() const { return prefix_key_; }
  const BlockLayout& layout() const { return layout_; }
  const std::string& path() const { return path_; }
  bool asynchronous() const { return io_->asynchronous(); }

  /// Room for `blocks` blocks, at most layout().adjoining, which are to be written to slots that follow each other.
  void stage(int blocks);
  /// Where filled_bytes(part) of a staged block belong.
  uint8_t* staged(int block, int part) const;
  /// All parts of a staged block are there. May be called for several blocks at once, by several threads.
  void seal(int block);
  /// Starts to write what was staged. A block without a key is written and not kept.
  void write(BlockId first, std::vector<std::shared_ptr<const BlockKey>> keys);

  using Ticket = int;
  /// So many may be neither released nor waited for at once; the rest are kept for writes.
  static constexpr int kReadsAtOnce = 48;
  /// Starts to read one part of `blocks` slots that follow each other. Nobody compares the bytes: who has read all parts asks
  /// a BlockCheck of what() the slot held when the first one was read.
  Ticket read(BlockId first, int blocks, int part);
  /// Waits for what is in flight of a slot; before its first part is read.
  void wait_until_idle(BlockId slot);
  BlockContent what(BlockId slot) const { return index_.what(slot); }
  /// Whether wait() would return at once.
  bool ended(Ticket ticket);
  void wait(Ticket ticket);
  /// After wait(): the part of one of the blocks, or null where it could not be read. Valid until release().
  const uint8_t* bytes(Ticket ticket, int block) const;
  void release(Ticket ticket);

  /// Keys whose write has failed since the last call.
  std::vector<uint64_t> take_failures();
  /// Takes note of what has ended, without waiting: only then is a slot's entry written.
  void reap();
  /// Waits for everything in flight.
  void drain();

 private:
  struct Request;
  struct Save;
  BlockFile(const std::string& path, const BlockFileIdentity& identity, int slots);
  Status open_file(const BlockFileIdentity& identity);
  int take_request();
  /// Takes note of a request that is about to be started.
  IoRequest begin(int request);
  void wait_for_one();
  void finish(const IoDone& done);
  void end(Save& save);

  std::string path_;
  int fd_ = -1;  // of the index, which is buffered
  BlockLayout layout_;
  uint64_t prefix_key_ = 0;
  BlockIndex index_;
  std::vector<RecoveredBlock> recovered_;
  Buffer memory_;                    // of all requests
  std::unique_ptr<AsyncIo> io_;      // of the slots
  std::vector<Request> requests_;
  std::vector<int> free_requests_;
  std::vector<int> in_flight_;       // requests by slot: of one save, or reads
  std::vector<uint64_t> failures_;
  std::shared_ptr<Save> staged_;
  int flying_ = 0;  // pieces of I/O
};

}  // namespace sluice
