#pragma once
// Modular attention reuse: KV of runs of tokens that are no prefix, in blocks of the pool, beside a prefix cache. Approximate: a
// segment was computed without most of what precedes it where it is used (docs/adr/0015-modular-kv.md).
// Papers: Prompt Cache (Gim et al., MLSys 2024); CacheBlend (Yao et al., EuroSys 2025) for what becomes of the hits.
//
// As a PrefixCache it is the one that it wraps. Its own entries are found by everything that their values depend on, compared
// token by token; the least recently used go when blocks are short, after the wrapped cache's.

#include <map>
#include <unordered_map>

#include "kv/prefix/history_index.h"
#include "kv/prefix/prefix_cache.h"

namespace sluice {

/// What the KV of a segment was computed from: `lead` tokens, which it saw and which are no part of it, and its own.
struct SegmentKey {
  uint64_t hash = 0;  // of all that follows
  CacheSalt salt = 0;
  int lead = 0;
  bool kept = false;  // a block of kept history, which has seen more than its key says: for find_kept() alone
  std::vector<TokenId> tokens;
  std::vector<int32_t> positions;  // by which they were rotated

  SegmentKey() = default;
  SegmentKey(CacheSalt salt, int lead, std::vector<TokenId> tokens, std::vector<int32_t> positions);
  bool operator==(const SegmentKey&) const = default;
};

/// Blocks that hold the lead and the segment from slot 0 on. Holding it pins them; empty: not stored.
struct SegmentHit {
  std::vector<BlockRef> blocks;
  explicit operator bool() const { return !blocks.empty(); }
};

class SegmentCache final : public PrefixCache {
 public:
  /// `keeps_history`: find_kept() finds something.
  SegmentCache(std::unique_ptr<PrefixCache> prefixes, BlockPool& pool, bool keeps_history = false) : prefixes_(std::move(prefixes)), pool_(pool) {
    if (keeps_history) history_ = std::make_unique<HistoryIndex>(pool);
  }
  ~SegmentCache() override;

  /// Pure, like match().
  SegmentHit find(const SegmentKey& key) const;
  /// It was used: refreshes its recency.
  void use(const SegmentKey& key);
  /// Takes the table's blocks over, which nobody else holds. Where the segment is stored already they are given back.
  void keep(const SegmentKey& key, BlockTable table);
  /// Of what the wrapped cache holds anywhere, the longest run that begins with these tokens.
  std::optional<KeptRun> find_kept(CacheSalt salt, std::span<const TokenId> tokens) const {
    return history_ ? history_->find(salt, tokens) : std::nullopt;
  }
  /// Takes the table's blocks [first_block, full_blocks), which are of no prefix and which it alone holds, for find_kept().
  void keep_history(CacheSalt salt, std::span<const TokenId> tokens, int first_block, int full_blocks, const BlockTable& table);
  int segments_held() const { return static_cast<int>(entries_.size()); }

  void on(const Event& event) override { prefixes_->on(event); }
  PrefixHit match(CacheSalt salt, std::span<const TokenId> tokens) const override { return std::as_const(*prefixes_).match(salt, tokens); }
  void commit(CacheSalt salt, const PrefixHit& hit, std::span<const TokenId> tokens) override { prefixes_->commit(salt, hit, tokens); }
  void insert(CacheSalt salt, std::span<const TokenId> tokens, int full_blocks, BlockTable& table) override {
    prefixes_->insert(salt, tokens, full_blocks, table);
    if (history_) history_->note(salt, tokens, full_blocks, table);
  }
  int evict(int blocks) override;
  int evictable() const override { return pool_.idle_cached(); }
  int size() const override { return prefixes_->size() + blocks_; }
  bool consistent() const override;
  SegmentCache* segments() override { return this; }

 private:
  struct Entry {
    SegmentKey key;
    BlockTable table;
    uint64_t last_used = 0;
  };
  using Entries = std::unordered_multimap<uint64_t, Entry>;  // by hash
  Entries::iterator at(const SegmentKey& key);
  void add(SegmentKey key, BlockTable table);
  void drop(Entries::iterator entry);

  std::unique_ptr<PrefixCache> prefixes_;
  BlockPool& pool_;
  std::unique_ptr<HistoryIndex> history_;
  Entries entries_;
  std::map<uint64_t, Entries::iterator> order_;  // by last_used
  uint64_t tick_ = 0;
  int blocks_ = 0;
};

}  // namespace sluice
