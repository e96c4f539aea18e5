#include "kv/block_pool.h"

#include <algorithm>

#include "kv/recent_pages.h"

namespace sluice {

BlockPool::BlockPool(int blocks, int block_tokens) : block_tokens_(block_tokens), refs_(blocks, 0), cached_(blocks), place_(blocks) {
  CHECK(blocks >= 0 && block_tokens >= 1 && block_tokens <= kMostBlockTokens, "{} blocks of {} tokens", blocks, block_tokens);
  free_.reserve(blocks);
  for (int id = blocks - 1; id >= 0; --id) put_back(static_cast<BlockId>(id));
}

BlockPool::BlockPool(int blocks, int block_tokens, RecentKv recent) : BlockPool(blocks, block_tokens) {
  if (recent.any()) recent_ = std::make_unique<RecentPages>(recent, blocks, block_tokens);
}

BlockPool::~BlockPool() { CHECK(free() == total(), "{} blocks are still in use", total() - free()); }

std::optional<BlockRef> BlockPool::allocate() {
  const std::optional<BlockId> id = peek();
  if (!id) return std::nullopt;
  return take(*id);
}

BlockRef BlockPool::take(BlockId id) {
  CHECK(is_free(id), "block {} of {} is not free", id, total());
  const BlockId last = free_.back();
  free_[place_[id]] = last;
  place_[last] = place_[id];
  free_.pop_back();
  add_ref(id);
  return BlockRef(this, id);
}

void BlockPool::put_back(BlockId id) {
  place_[id] = static_cast<uint32_t>(free_.size());
  free_.push_back(id);
}

void BlockPool::add_ref(BlockId id) {
  if (++refs_[id] == 2 && cached_[id]) --idle_cached_;
}

void BlockPool::drop_ref(BlockId id) {
  CHECK(refs_[id] > 0, "block {} is released twice", id);
  if (--refs_[id] == 1 && cached_[id]) ++idle_cached_;
  if (refs_[id] == 0) {
    CHECK(!cached_[id], "block {} left a prefix cache that still lists it", id);
    if (recent_ != nullptr) recent_->forget(id);
    put_back(id);
    freed_.push_back(id);
  }
}

void BlockPool::set_cached(BlockId id, bool cached) {
  CHECK(refs_[id] > 0 && cached_[id] != cached, "block {} with {} references", id, refs_[id]);
  cached_[id] = cached;
  if (refs_[id] == 1) idle_cached_ += cached ? 1 : -1;
}

bool BlockPool::consistent() const {
  int in_use = 0, idle = 0;
  for (size_t id = 0; id < refs_.size(); ++id) {
    if (refs_[id] < 0 || (refs_[id] == 0 && cached_[id])) return false;
    in_use += refs_[id] > 0;
    idle += refs_[id] == 1 && cached_[id];
  }
  for (size_t i = 0; i < free_.size(); ++i)
    if (place_[free_[i]] != i) return false;
  std::vector<BlockId> free = free_;
  std::sort(free.begin(), free.end());
  const bool unique = std::adjacent_find(free.begin(), free.end()) == free.end();
  const bool unused = std::all_of(free.begin(), free.end(), [&](BlockId id) { return refs_[id] == 0; });
  return unique && unused && in_use + static_cast<int>(free.size()) == total() && idle == idle_cached_;
}

}  // namespace sluice
