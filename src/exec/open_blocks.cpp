#include "exec/open_blocks.h"

#include "base/check.h"

namespace sluice {

OpenBlocks::OpenBlocks(int blocks, int tiles) : tiles_(tiles), tile_of_(static_cast<size_t>(blocks), kNoBlock) {
  for (int i = tiles - 1; i >= 0; --i) free_.push_back(static_cast<BlockId>(i));
}

void OpenBlocks::open(BlockId block) {
  if (tile_of_[block] != kNoBlock) return;
  CHECK(!free_.empty(), "block {} is the {}th to be open at once", block, tiles_ + 1);
  tile_of_[block] = free_.back();
  free_.pop_back();
}

void OpenBlocks::close(BlockId block) {
  if (tile_of_[block] == kNoBlock) return;
  free_.push_back(tile_of_[block]);
  tile_of_[block] = kNoBlock;
}

}  // namespace sluice
