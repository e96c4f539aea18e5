#pragma once
// Where the open blocks of a block format stand (quant/kv/kv_format.h): a table from blocks to tiles, of which there are as
// many as blocks may be open at once. Metadata only.

#include <span>
#include <vector>

#include "base/ids.h"

namespace sluice {

class OpenBlocks {
 public:
  OpenBlocks() = default;
  OpenBlocks(int blocks, int tiles);

  /// Gives the block a tile, unless it has one. There is a free one.
  void open(BlockId block);
  /// Takes its tile back, if it has one.
  void close(BlockId block);
  /// By block; kNoBlock where it is not open.
  std::span<const BlockId> tiles() const { return tile_of_; }
  int open_count() const { return tiles_ - static_cast<int>(free_.size()); }

 private:
  int tiles_ = 0;
  std::vector<BlockId> tile_of_, free_;
};

}  // namespace sluice
