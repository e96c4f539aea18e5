#include "kv/prefix/segment_cache.h"

#include <algorithm>
#include <numeric>

namespace sluice {

SegmentKey::SegmentKey(CacheSalt salt_, int lead_, std::vector<TokenId> tokens_, std::vector<int32_t> positions_)
    : salt(salt_), lead(lead_), tokens(std::move(tokens_)), positions(std::move(positions_)) {
  CHECK(tokens.size() == positions.size() && lead >= 0 && static_cast<size_t>(lead) < tokens.size());
  hash = next_block_hash(next_block_hash(root_block_hash(salt), tokens), positions) + static_cast<uint64_t>(lead);
}

SegmentCache::~SegmentCache() {
  while (!entries_.empty()) drop(entries_.begin());
}

SegmentCache::Entries::iterator SegmentCache::at(const SegmentKey& key) {
  const auto [begin, end] = entries_.equal_range(key.hash);
  const auto found = std::find_if(begin, end, [&](const auto& entry) { return entry.second.key == key; });
  return found == end ? entries_.end() : found;
}

SegmentHit SegmentCache::find(const SegmentKey& key) const {
  const auto [begin, end] = entries_.equal_range(key.hash);
  const auto found = std::find_if(begin, end, [&](const auto& entry) { return entry.second.key == key; });
  if (found == end) return {};
  const std::span<const BlockRef> refs = found->second.table.refs();
  return {{refs.begin(), refs.end()}};
}

void SegmentCache::use(const SegmentKey& key) {
  const auto entry = at(key);
  CHECK(entry != entries_.end(), "a segment that was found is gone though it is pinned");
  order_.erase(entry->second.last_used);
  entry->second.last_used = ++tick_;
  order_.emplace(tick_, entry);
}

void SegmentCache::keep(const SegmentKey& key, BlockTable table) {
  if (at(key) != entries_.end()) return;
  CHECK(static_cast<size_t>(table.size()) * static_cast<size_t>(pool_.block_tokens()) >= key.tokens.size());
  for (const BlockRef& block : table.refs()) {
    CHECK(block.count() == 1, "block {} of a segment is shared", block.id());
    if (history_) history_->forget(block.id());
    pool_.set_cached(block.id(), true);
  }
  add(key, std::move(table));
}

void SegmentCache::keep_history(CacheSalt salt, std::span<const TokenId> tokens, int first_block, int full_blocks, const BlockTable& table) {
  if (!history_) return;
  const int block_tokens = pool_.block_tokens();
  // Each block is an entry of its own, the last one the oldest: a run loses its end first.
  for (int k = full_blocks - 1; k >= first_block; --k) {
    if (table[k].count() > 1) continue;  // other samples go on with it
    const auto own = tokens.subspan(static_cast<size_t>(k * block_tokens), static_cast<size_t>(block_tokens));
    std::vector<int32_t> positions(own.size());
    std::iota(positions.begin(), positions.end(), k * block_tokens);
    SegmentKey key(salt, 0, {own.begin(), own.end()}, std::move(positions));
    key.kept = true;
    if (const auto older = at(key); older != entries_.end()) {
      if (older->second.table[0].count() > 1) continue;
      drop(older);
    }
    BlockTable block;
    block.push(table[k]);
    pool_.set_cached(table[k].id(), true);
    add(std::move(key), std::move(block));
  }
  history_->note(salt, tokens, full_blocks, table);
}

void SegmentCache::add(SegmentKey key, BlockTable table) {
  blocks_ += table.size();
  const uint64_t hash = key.hash;
  const auto entry = entries_.emplace(hash, Entry{std::move(key), std::move(table), ++tick_});
  order_.emplace(entry->second.last_used, entry);
}

void SegmentCache::drop(Entries::iterator entry) {
  for (const BlockRef& block : entry->second.table.refs()) pool_.set_cached(block.id(), false);
  blocks_ -= entry->second.table.size();
  order_.erase(entry->second.last_used);
  entries_.erase(entry);
}

int SegmentCache::evict(int blocks) {
  int freed = prefixes_->evict(blocks);
  for (auto it = order_.begin(); freed < blocks && it != order_.end();) {
    const auto entry = (it++)->second;
    // All of its blocks are pinned, or none.
    if (entry->second.table[0].count() > 1) continue;
    freed += entry->second.table.size();
    drop(entry);
  }
  return freed;
}

bool SegmentCache::consistent() const {
  if (!prefixes_->consistent() || order_.size() != entries_.size()) return false;
  int blocks = 0;
  for (const auto& [hash, entry] : entries_) {
    const auto place = order_.find(entry.last_used);
    if (hash != entry.key.hash || place == order_.end() || &place->second->second != &entry) return false;
    for (const BlockRef& block : entry.table.refs())
      if (!pool_.is_cached(block.id()) || (block.count() > 1) != (entry.table[0].count() > 1)) return false;
    blocks += entry.table.size();
  }
  return blocks == blocks_;
}

}  // namespace sluice
