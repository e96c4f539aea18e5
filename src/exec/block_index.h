#pragma once
// The index of a file of blocks: for every slot an entry {hash, parent, checksum of the block's bytes, tokens}, little endian,
// with a checksum of its own, so that one which a crash has torn does not count.

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "kv/tier/tier_index.h"

namespace sluice {

/// Of the block in a slot: its key's hash, and the XXH3 of its bytes.
struct BlockContent {
  uint64_t hash = 0, checksum = 0;
  bool operator==(const BlockContent&) const = default;
};

/// A block that has been written; without a key: the slot holds nothing.
struct WrittenBlock {
  std::shared_ptr<const BlockKey> key;
  uint64_t checksum = 0;
};

class BlockIndex {
 public:
  BlockIndex() = default;
  BlockIndex(int slots, int block_tokens) : block_tokens_(block_tokens), contents_(static_cast<size_t>(slots)) {}
  static size_t entry_bytes(int block_tokens);

  /// Of a file, from byte `at` on: the slots that hold a block. Errors: io.
  Result<std::vector<RecoveredBlock>> read(int fd, uint64_t at, const std::string& path);
  /// Entries of slots that follow each other, by one write; false where that fails.
  bool write(int fd, uint64_t at, BlockId first, std::span<const WrittenBlock> blocks);
  /// As far as is known.
  BlockContent what(BlockId slot) const { return contents_[slot]; }

 private:
  int block_tokens_ = 0;
  std::vector<BlockContent> contents_;  // by slot
  std::vector<uint8_t> bytes_;          // of the entries in hand
};

/// Of a file, all bytes or false.
bool write_all(int fd, const void* data, size_t n, uint64_t at);

}  // namespace sluice
