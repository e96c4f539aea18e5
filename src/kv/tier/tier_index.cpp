#include "kv/tier/tier_index.h"

#include <algorithm>
#include <limits>
#include <random>

namespace sluice {
namespace {

constexpr int kNeverNeeded = std::numeric_limits<int>::max();
constexpr int kFetchesAtOnce = 64;  // blocks a step, so that a long queue does not fill the disk's own

}  // namespace

TierIndex::TierIndex(TierConfig config, std::unique_ptr<TierPolicy> policy) : config_(config), policy_(std::move(policy)) {
  // Taken from the back: low slots first.
  for (int i = config_.host_slots; i-- > 0;) host_.free.push_back(static_cast<BlockId>(i));
  for (int i = config_.disk_slots; i-- > 0;) disk_.free.push_back(static_cast<BlockId>(i));
}

uint64_t random_prefix_key() {
  std::random_device device;
  return uint64_t{device()} << 32 | device();
}

uint64_t TierIndex::root(CacheSalt salt) const { return root_block_hash(salt ^ config_.prefix_key); }

const TierIndex::Entry* TierIndex::find(uint64_t hash, uint64_t parent, std::span<const TokenId> block) const {
  const auto it = entries_.find(hash);
  if (it == entries_.end() || it->second.key->parent != parent) return nullptr;
  return std::ranges::equal(it->second.key->tokens, block) ? &it->second : nullptr;
}

TierHit TierIndex::match(CacheSalt salt, std::span<const TokenId> tokens, int first_block, int most) const {
  TierHit hit;
  if (entries_.empty()) return hit;
  const size_t block_tokens = static_cast<size_t>(config_.block_tokens);
  uint64_t parent = root(salt);
  for (int i = 0; i < first_block + most && (static_cast<size_t>(i) + 1) * block_tokens <= tokens.size(); ++i) {
    const auto block = tokens.subspan(static_cast<size_t>(i) * block_tokens, block_tokens);
    const uint64_t hash = next_block_hash(parent, block);
    if (i >= first_block) {
      const Entry* entry = find(hash, parent, block);
      if (entry == nullptr) break;
      hit.blocks.push_back({entry->key, entry->host != kNoBlock ? Tier::host : Tier::disk});
    }
    parent = hash;
  }
  return hit;
}

void TierIndex::touch(Entry& entry) {
  const uint64_t before = policy_->keep(entry.use);
  entry.use.last_used = ++tick_;
  const uint64_t after = policy_->keep(entry.use);
  for (const Tier tier : {Tier::host, Tier::disk}) {
    if (slot_of(entry, tier) == kNoBlock) continue;
    slots(tier).order.erase({before, entry.key->hash});
    slots(tier).order.insert({after, entry.key->hash});
  }
}

KvCopy TierIndex::load(const BlockKey& key, BlockId to) {
  Entry& entry = entries_.at(key.hash);
  touch(entry);
  if (!entry.pinned) pinned_.push_back(key.hash);
  entry.pinned = true;
  const bool on_host = entry.host != kNoBlock;
  ++(on_host ? stats_.loaded_host : stats_.loaded_disk);
  return {on_host ? entry.host : entry.disk, to, config_.block_tokens, on_host ? Tier::host : Tier::disk, Tier::pool, entry.key};
}

void TierIndex::give_back(Entry& entry, Tier tier) {
  BlockId& slot = slot_of(entry, tier);
  slots(tier).order.erase({policy_->keep(entry.use), entry.key->hash});
  slots(tier).free.push_back(slot);
  slot = kNoBlock;
  --(tier == Tier::host ? stats_.host_blocks : stats_.disk_blocks);
}

BlockId TierIndex::take_slot(Tier tier, int distance) {
  Slots& of = slots(tier);
  if (of.free.empty()) {
    // The first in the policy's order that nobody waits for; else the one that is needed last, if later than this.
    Entry* victim = nullptr;
    for (const auto& [keep, hash] : of.order) {
      Entry& entry = entries_.at(hash);
      if (entry.pinned) continue;
      const int needed_in = entry.epoch == epoch_ && epoch_ > 0 ? entry.distance : kNeverNeeded;
      if (needed_in == kNeverNeeded) {
        victim = &entry;
        break;
      }
      if (needed_in > distance && (victim == nullptr || needed_in > victim->distance)) victim = &entry;
    }
    if (victim == nullptr) return kNoBlock;
    give_back(*victim, tier);
    if (victim->host == kNoBlock && victim->disk == kNoBlock) entries_.erase(victim->key->hash);
  }
  const BlockId slot = of.free.back();
  of.free.pop_back();
  ++(tier == Tier::host ? stats_.host_blocks : stats_.disk_blocks);
  return slot;
}

void TierIndex::save(SeqId seq, CacheSalt salt, std::span<const TokenId> tokens, int first, int full, const BlockTable& table) {
  if (!config_.any()) return;
  const size_t block_tokens = static_cast<size_t>(config_.block_tokens);
  const auto block_at = [&](int i) { return tokens.subspan(static_cast<size_t>(i) * block_tokens, block_tokens); };
  uint64_t parent = root(salt);
  int i = 0;
  if (const auto end = ends_.find(seq); first > 0 && end != ends_.end() && end->second.blocks == first) parent = end->second.hash, i = first;
  for (; i < full; ++i) {
    const auto block = block_at(i);
    const uint64_t hash = next_block_hash(parent, block);
    if (i >= first) {
      if (const auto known = entries_.find(hash); known != entries_.end()) {
        touch(known->second);  // or, one time in 2^64, another block: then this one is not kept
      } else {
        Entry entry;
        entry.key = std::make_shared<const BlockKey>(BlockKey{hash, parent, {block.begin(), block.end()}});
        entry.use = {++tick_, tick_};
        bool kept = false;
        for (const Tier tier : {Tier::host, Tier::disk}) {
          if ((tier == Tier::host ? config_.host_slots : config_.disk_slots) == 0) continue;
          const BlockId slot = take_slot(tier, kNeverNeeded);
          if (slot == kNoBlock) continue;
          slot_of(entry, tier) = slot;
          slots(tier).order.insert({policy_->keep(entry.use), hash});
          copies_.push_back({table[i].id(), slot, config_.block_tokens, Tier::pool, tier, entry.key});
          kept = true;
        }
        if (kept) {
          entries_.emplace(hash, std::move(entry));
          ++stats_.saved;
        }
      }
    }
    parent = hash;
  }
  ends_[seq] = {full, parent};
}

void TierIndex::look_ahead(std::span<const TierNeed> waiting) {
  if (config_.disk_slots == 0 || policy_->look_ahead() == 0) return;
  ++epoch_;
  const size_t block_tokens = static_cast<size_t>(config_.block_tokens);
  std::vector<uint64_t> wanted;
  for (size_t w = 0; w < waiting.size(); ++w) {
    uint64_t parent = root(waiting[w].salt);
    const auto tokens = waiting[w].tokens;
    for (size_t at = 0; at + block_tokens <= tokens.size(); at += block_tokens) {
      const auto block = tokens.subspan(at, block_tokens);
      const uint64_t hash = next_block_hash(parent, block);
      const auto it = entries_.find(hash);
      if (it == entries_.end()) break;
      Entry& entry = it->second;
      if (entry.epoch != epoch_) entry.epoch = epoch_, entry.distance = static_cast<int>(w);
      if (w < static_cast<size_t>(policy_->look_ahead()) && entry.host == kNoBlock) wanted.push_back(hash);
      parent = hash;
    }
  }
  int fetched = 0;
  for (const uint64_t hash : wanted) {
    if (config_.host_slots == 0 || fetched == kFetchesAtOnce) break;
    Entry& entry = entries_.at(hash);
    if (entry.host != kNoBlock) continue;  // two sequences want it
    const bool was_pinned = std::exchange(entry.pinned, true);
    const BlockId slot = take_slot(Tier::host, entry.distance);
    entry.pinned = was_pinned;
    if (slot == kNoBlock) break;
    entry.host = slot;
    host_.order.insert({policy_->keep(entry.use), hash});
    copies_.push_back({entry.disk, slot, config_.block_tokens, Tier::disk, Tier::host, entry.key});
    ++stats_.fetched;
    ++fetched;
  }
}

std::vector<KvCopy> TierIndex::take_copies() { return std::exchange(copies_, {}); }

void TierIndex::settled() {
  for (const uint64_t hash : pinned_)
    if (const auto it = entries_.find(hash); it != entries_.end()) it->second.pinned = false;
  pinned_.clear();
}

void TierIndex::lost(uint64_t hash) {
  const auto it = entries_.find(hash);
  if (it == entries_.end()) return;
  for (const Tier tier : {Tier::host, Tier::disk})
    if (slot_of(it->second, tier) != kNoBlock) give_back(it->second, tier);
  entries_.erase(it);
  ++stats_.lost;
}

int TierIndex::recover(std::span<const RecoveredBlock> blocks) {
  std::vector<bool> taken(static_cast<size_t>(config_.disk_slots));
  int count = 0;
  for (const RecoveredBlock& block : blocks) {
    const BlockKey& key = *block.key;
    if (block.slot >= taken.size() || taken[block.slot] || entries_.contains(key.hash) ||
        key.tokens.size() != static_cast<size_t>(config_.block_tokens) || next_block_hash(key.parent, key.tokens) != key.hash)
      continue;
    taken[block.slot] = true;
    ++tick_;
    Entry entry;
    entry.key = block.key;
    entry.disk = block.slot;
    entry.use = {tick_, tick_};
    disk_.order.insert({policy_->keep(entry.use), key.hash});
    entries_.emplace(key.hash, std::move(entry));
    ++count;
  }
  std::erase_if(disk_.free, [&](BlockId slot) { return taken[slot]; });
  stats_.disk_blocks += count;
  return count;
}

bool TierIndex::consistent() const {
  std::set<BlockId> host, disk;
  for (const auto& [hash, entry] : entries_) {
    if (entry.key->hash != hash || (entry.host == kNoBlock && entry.disk == kNoBlock)) return false;
    if (entry.host != kNoBlock && (!host.insert(entry.host).second || !host_.order.contains({policy_->keep(entry.use), hash}))) return false;
    if (entry.disk != kNoBlock && (!disk.insert(entry.disk).second || !disk_.order.contains({policy_->keep(entry.use), hash}))) return false;
  }
  for (const BlockId slot : host_.free)
    if (!host.insert(slot).second) return false;
  for (const BlockId slot : disk_.free)
    if (!disk.insert(slot).second) return false;
  return static_cast<int>(host.size()) == config_.host_slots && static_cast<int>(disk.size()) == config_.disk_slots &&
         stats_.host_blocks == config_.host_slots - static_cast<int>(host_.free.size()) &&
         stats_.disk_blocks == config_.disk_slots - static_cast<int>(disk_.free.size());
}

}  // namespace sluice
