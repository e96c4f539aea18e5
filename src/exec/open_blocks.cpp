#include "exec/open_blocks.h"

#include <algorithm>

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

int OpenBlocks::most(int max_num_seqs, int max_num_batched_tokens, int block_tokens, int blocks) {
  // A sequence's rows of one step touch a block, and one more for every block_tokens of them. One that has to go back
  // (a block was lost that it was to start from) leaves one behind.
  const int64_t most = int64_t{2} * max_num_seqs + (max_num_batched_tokens + block_tokens - 1) / block_tokens + 2 * max_num_seqs;
  return static_cast<int>(std::min<int64_t>(most, blocks));
}

}  // namespace sluice
