#include "kv/prefix/hash_chain.h"

#include <algorithm>

#include "kv/block_hash.h"

namespace sluice {

HashChain::~HashChain() {
  for (auto& [key, entry] : entries_) pool_.set_cached(entry.block.id(), false);
}

const HashChain::Entry* HashChain::find(uint64_t key, uint64_t parent, std::span<const TokenId> block) const {
  const auto it = entries_.find(key);
  if (it == entries_.end() || it->second.parent != parent) return nullptr;
  return std::ranges::equal(it->second.tokens, block) ? &it->second : nullptr;
}

PrefixHit HashChain::match(CacheSalt salt, std::span<const TokenId> tokens) const {
  PrefixHit hit;
  const size_t block_tokens = static_cast<size_t>(pool_.block_tokens());
  uint64_t parent = root_block_hash(salt);
  for (size_t at = 0; at + block_tokens <= tokens.size(); at += block_tokens) {
    const auto block = tokens.subspan(at, block_tokens);
    const uint64_t key = next_block_hash(parent, block);
    const Entry* entry = find(key, parent, block);
    if (entry == nullptr) break;
    hit.blocks.push_back(entry->block);
    parent = key;
  }
  return hit;
}

void HashChain::touch(uint64_t key, Entry& entry) {
  if (entry.children == 0) ends_.erase({entry.last_used, key});
  entry.last_used = tick_;
  if (entry.children == 0) ends_.insert({entry.last_used, key});
}

void HashChain::commit(CacheSalt, const PrefixHit& hit, std::span<const TokenId>) {
  if (hit.blocks.empty()) return;
  ++tick_;
  const uint64_t key = key_of_[hit.blocks.back().id()];
  touch(key, entries_.at(key));
}

void HashChain::insert(CacheSalt salt, std::span<const TokenId> tokens, int full_blocks, BlockTable& table) {
  ++tick_;
  const size_t block_tokens = static_cast<size_t>(pool_.block_tokens());
  // The sequence pins the chain below its own blocks: what follows the last block that is cached is new.
  int known = full_blocks;
  while (known > 0 && !pool_.is_cached(table[known - 1].id())) --known;
  uint64_t last = known > 0 ? key_of_[table[known - 1].id()] : root_block_hash(salt);
  for (int i = known; i < full_blocks; ++i) {
    const auto block = tokens.subspan(i * block_tokens, block_tokens);
    const uint64_t key = next_block_hash(last, block);
    if (const auto it = entries_.find(key); it != entries_.end()) {
      if (find(key, last, block) == nullptr) break;  // a true collision: the newcomer stays private
      table.replace(i, it->second.block);
    } else {
      entries_.emplace(key, Entry{table[i], {block.begin(), block.end()}, last, 0, tick_});
      key_of_[table[i].id()] = key;
      pool_.set_cached(table[i].id(), true);
      ends_.insert({tick_, key});
      if (const auto up = entries_.find(last); up != entries_.end() && ++up->second.children == 1)
        ends_.erase({up->second.last_used, last});
    }
    last = key;
  }
  if (const auto it = entries_.find(last); it != entries_.end()) touch(last, it->second);
}

int HashChain::evict(int blocks) {
  int freed = 0;
  for (auto it = ends_.begin(); it != ends_.end() && freed < blocks;) {
    const auto [used, key] = *it;
    Entry& entry = entries_.at(key);
    if (entry.block.count() > 1) {
      ++it;
      continue;
    }
    it = ends_.erase(it);
    const uint64_t parent = entry.parent, last_used = entry.last_used;
    pool_.set_cached(entry.block.id(), false);
    entries_.erase(key);
    ++freed;
    const auto up = entries_.find(parent);
    if (up == entries_.end()) continue;
    up->second.last_used = std::max(up->second.last_used, last_used);
    if (--up->second.children == 0) {
      const auto added = ends_.insert({up->second.last_used, parent}).first;
      // The parent may be next in line.
      if (it == ends_.end() || *added < *it) it = added;
    }
  }
  return freed;
}

bool HashChain::consistent() const {
  std::unordered_map<uint64_t, int> children;
  for (const auto& [key, entry] : entries_) {
    if (!pool_.is_cached(entry.block.id()) || entry.block.count() < 1) return false;
    if (next_block_hash(entry.parent, entry.tokens) != key || key_of_[entry.block.id()] != key) return false;
    if (entries_.contains(entry.parent)) ++children[entry.parent];
  }
  size_t ends = 0;
  for (const auto& [key, entry] : entries_) {
    const auto it = children.find(key);
    if ((it == children.end() ? 0 : it->second) != entry.children) return false;
    if (entry.children == 0) {
      ++ends;
      if (!ends_.contains({entry.last_used, key})) return false;
    }
  }
  return ends == ends_.size();
}

}  // namespace sluice
