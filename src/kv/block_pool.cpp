#include "kv/block_pool.h"

#include <algorithm>

#include "kv/recent_pages.h"

namespace sluice {

namespace {

/// A list from which any may be taken: the last one comes to its place.
void take_out(std::vector<BlockId>& list, std::vector<uint32_t>& place, BlockId id) {
  const BlockId last = list.back();
  list[place[id]] = last;
  place[last] = place[id];
  list.pop_back();
}
void append(std::vector<BlockId>& list, std::vector<uint32_t>& place, BlockId id) {
  place[id] = static_cast<uint32_t>(list.size());
  list.push_back(id);
}

}  // namespace

BlockPool::BlockPool(int blocks, int block_tokens)
    : block_tokens_(block_tokens), cluster_(cluster_blocks(block_tokens)), refs_(blocks, 0), cached_(blocks), place_(blocks) {
  CHECK(blocks >= 0 && block_tokens >= 1 && block_tokens <= kMostBlockTokens, "{} blocks of {} tokens", blocks, block_tokens);
  free_.reserve(blocks);
  used_.assign((blocks + cluster_ - 1) / cluster_, cluster_);
  cluster_place_.resize(used_.size());
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

std::optional<BlockId> BlockPool::good(Spot spot) const {
  const auto cluster = static_cast<BlockId>(cluster_);
  const BlockId adjoining = spot.previous + 1;
  if (spot.previous != kNoBlock && adjoining % cluster == spot.place && is_free(adjoining) && (spot.place > 0 || used_[adjoining / cluster] == 0)) return adjoining;
  if (!free_clusters_.empty()) return free_clusters_.back() * cluster + spot.place;
  return std::nullopt;
}

bool BlockPool::finds(Spot spot) const { return good(spot) || (cluster_ > 1 && free() > total() / 8); }

std::optional<BlockRef> BlockPool::allocate(Spot spot) {
  if (const std::optional<BlockId> id = good(spot)) return take(*id);
  if (spot.previous != kNoBlock && is_free(spot.previous + 1)) return take(spot.previous + 1);
  return allocate();
}

BlockRef BlockPool::take(BlockId id) {
  CHECK(is_free(id), "block {} of {} is not free", id, total());
  take_out(free_, place_, id);
  const BlockId cluster = id / static_cast<BlockId>(cluster_);
  if (used_[cluster]++ == 0) take_out(free_clusters_, cluster_place_, cluster);
  add_ref(id);
  return BlockRef(this, id);
}

void BlockPool::put_back(BlockId id) {
  append(free_, place_, id);
  const BlockId cluster = id / static_cast<BlockId>(cluster_);
  if (--used_[cluster] == 0) append(free_clusters_, cluster_place_, cluster);
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
  std::vector<int> used(used_.size(), cluster_);
  for (const BlockId id : free_) --used[id / static_cast<BlockId>(cluster_)];
  if (used != used_ || static_cast<size_t>(std::count(used.begin(), used.end(), 0)) != free_clusters_.size()) return false;
  for (size_t i = 0; i < free_clusters_.size(); ++i)
    if (used[free_clusters_[i]] != 0 || cluster_place_[free_clusters_[i]] != i) return false;
  std::vector<BlockId> free = free_;
  std::sort(free.begin(), free.end());
  const bool unique = std::adjacent_find(free.begin(), free.end()) == free.end();
  const bool unused = std::all_of(free.begin(), free.end(), [&](BlockId id) { return refs_[id] == 0; });
  return unique && unused && in_use + static_cast<int>(free.size()) == total() && idle == idle_cached_;
}

}  // namespace sluice
