#pragma once
// Where the KV of layers stands that read the last tokens only: windows, and recurrent states (docs/adr/0020). It is in pages
// of a pool of their own, of which a block has one or none. Metadata only.
//
// A sequence holds the pages of the last tokens; those behind are kept for who comes with the same prefix until somebody
// needs them: first those that a sequence has passed, then those at which one or its prompt ended, or where prefixes were wanted,
// each least recently used first. A block that has lost its page is as good as ever in all other layers.
// Same aim: the hybrid KV caches of Jenga (Zhang et al. 2025, "Effective memory management for serving LLM with heterogeneity").

#include <algorithm>
#include <list>
#include <span>
#include <vector>

#include "kv/block_pool.h"

namespace sluice {

/// How many pages there are (0: none, every block has all layers' KV), and how many tokens before the next one they are held for.
struct RecentKv {
  int pages = 0, reach = 0;

  bool any() const { return pages > 0; }
  /// Most pages that a sequence of so many tokens holds between steps, with one that it copies on write.
  int most_of(int64_t tokens, int block_tokens) const {
    const int64_t covering = (reach - 1 + block_tokens - 1) / block_tokens + 1;  // so many tokens, wherever they begin; a step rounds up to one more
    return static_cast<int>(std::min<int64_t>(covering + 1, (tokens + block_tokens - 1) / block_tokens)) + 1;
  }
  /// Most that a step of so many tokens takes beside.
  int most_of_step(int tokens, int block_tokens) const { return (tokens + block_tokens - 1) / block_tokens; }
  /// Without so many, `sequences` of so many tokens and a step cannot run together.
  int64_t least(int64_t sequences, int64_t tokens, int step_tokens, int block_tokens) const {
    return sequences * most_of(tokens, block_tokens) + most_of_step(step_tokens, block_tokens);
  }
  bool operator==(const RecentKv&) const = default;
};

class RecentPages {
 public:
  /// For a pool of so many blocks.
  RecentPages(RecentKv kv, int blocks, int block_tokens);

  /// The page of a block that is to be written, which has none. The page of another that nobody holds gives way for it.
  BlockRef write(BlockId block);
  /// The page of a block, or nothing.
  BlockRef find(BlockId block) const { return kept_[block].page; }
  /// Somebody goes on from there, or would if it had its page: it is kept for longer.
  void want(BlockId block);
  /// A sequence has gone on beyond what reads it.
  void pass(BlockId block);
  /// `block` is equal to the one whose page this is; it becomes its page too, unless it has one.
  void adopt(BlockId block, const BlockRef& page);
  /// The block is free.
  void forget(BlockId block);

  /// Of the blocks that the token after `computed` others reads, the first.
  int first_block(int computed) const { return std::max(0, computed - kv_.reach) / block_tokens_; }
  /// From which token a sequence can go on that has these blocks: `computed`, where the pages that it reads are there, else
  /// the last begin of a block before it of which that is true.
  int resumable(std::span<const BlockRef> blocks, int computed) const;
  const RecentKv& kv() const { return kv_; }
  const BlockPool& pages() const { return pages_; }
  /// Pages that were taken from blocks which somebody may still have found.
  uint64_t reclaimed() const { return reclaimed_; }
  /// Recounts everything; `held`: how many pages sequences hold in all.
  bool consistent(int held) const;

 private:
  void keep(BlockId block, BlockRef page);
  void drop(BlockId block);
  bool reclaim(std::list<BlockId>& order);

  RecentKv kv_;
  int block_tokens_;
  BlockPool pages_;
  struct Kept {
    BlockRef page;
    bool wanted = false, passed = false;  // passed: it stands in passed_, if it has a page
    std::list<BlockId>::iterator at;
  };
  std::vector<Kept> kept_;    // by block
  std::vector<int> keepers_;  // by page: blocks whose page it is
  std::list<BlockId> passed_, ends_;  // blocks with a page; the next to lose it first
  uint64_t reclaimed_ = 0;
};

}  // namespace sluice
