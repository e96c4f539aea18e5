#pragma once
// Which full blocks are kept in host memory and on disk, found by their hash chain and confirmed by their tokens. Holds
// no bytes: what is to be moved it says as KvCopy. Every full block that a sequence computes is saved once, so that to
// preempt a sequence, to evict its prefix or to restart the server loses nothing: what is needed again is loaded.
//
// Papers: CachedAttention (Gao et al., USENIX ATC 2024) for tiers under a conversation's KV; hash chains of blocks as in
// vLLM (Kwon et al., SOSP 2023, 4.4) for finding them. Lossless: a key names its whole prefix, and the bits of KV are a
// function of that.

#include <memory>
#include <set>
#include <span>
#include <unordered_map>
#include <vector>

#include "kv/block_hash.h"
#include "kv/block_table.h"
#include "kv/kv_copy.h"
#include "kv/tier/tier_policy.h"

namespace sluice {

struct TierConfig {
  int host_slots = 0, disk_slots = 0;  // blocks that each tier holds
  int block_tokens = 16;
  uint64_t prefix_key = 0;  // under which hashes begin: unknown to whoever makes prompts, so that nobody can make two prefixes of one hash
  bool any() const { return host_slots > 0 || disk_slots > 0; }
};

/// For TierConfig::prefix_key.
uint64_t random_prefix_key();

/// Successive blocks of one prefix that are in some tier.
struct TierHit {
  struct Block {
    std::shared_ptr<const BlockKey> key;
    Tier tier = Tier::host;  // the nearest that has it
  };
  std::vector<Block> blocks;
};

/// A sequence that waits.
struct TierNeed {
  CacheSalt salt = 0;
  std::span<const TokenId> tokens;
};

/// A key that a slot of the disk holds.
struct RecoveredBlock {
  BlockId slot = kNoBlock;
  std::shared_ptr<const BlockKey> key;
};

struct TierStats {
  int host_blocks = 0, disk_blocks = 0;                                  // held now
  uint64_t saved = 0, loaded_host = 0, loaded_disk = 0, fetched = 0, lost = 0;  // blocks, since the start
};

class TierIndex {
 public:
  TierIndex(TierConfig config, std::unique_ptr<TierPolicy> policy);

  /// The blocks from `first_block` on that follow each other without a gap, at most `most`. Pure.
  TierHit match(CacheSalt salt, std::span<const TokenId> tokens, int first_block, int most) const;
  /// The copy that brings the block of a hit into the pool; the block stays in its tier at least until settled().
  KvCopy load(const BlockKey& key, BlockId to);
  /// Blocks [first, full) of a sequence's table have become full: those that no tier has are to be saved.
  void save(SeqId seq, CacheSalt salt, std::span<const TokenId> tokens, int first, int full, const BlockTable& table);
  /// The sequence is no more.
  void forget(SeqId seq) { ends_.erase(seq); }
  /// What the policy wants to be fetched for those who wait next, in their order.
  void look_ahead(std::span<const TierNeed> waiting);
  int look_ahead_sequences() const { return config_.disk_slots > 0 ? 2 * policy_->look_ahead() : 0; }

  /// The copies that save and fetch, queued since the last call. The blocks that are saved are held by nobody: they must
  /// be copied before anything is written to the pool again.
  std::vector<KvCopy> take_copies();
  bool has_copies() const { return !copies_.empty(); }
  void settled();

  /// The executor could not keep this block, or read it back.
  void lost(uint64_t hash);
  /// What an earlier run has left on disk, before anything else; returns how many blocks of it count.
  int recover(std::span<const RecoveredBlock> blocks);

  const TierConfig& config() const { return config_; }
  const TierStats& stats() const { return stats_; }
  /// Recounts the slots.
  bool consistent() const;

 private:
  struct Entry {
    std::shared_ptr<const BlockKey> key;
    BlockId host = kNoBlock, disk = kNoBlock;
    TierBlockUse use;
    uint64_t epoch = 0;  // of the look-ahead that last saw it
    int distance = 0;    // how many wait before the one that needs it
    bool pinned = false;
  };
  /// One tier's slots.
  struct Slots {
    std::vector<BlockId> free;
    std::set<std::pair<uint64_t, uint64_t>> order;  // (keep, hash) of those that are held
  };

  const Entry* find(uint64_t hash, uint64_t parent, std::span<const TokenId> block) const;
  void touch(Entry& entry);
  /// A free slot, made free if need be; none where everything is pinned or nearer than `distance`.
  BlockId take_slot(Tier tier, int distance);
  void give_back(Entry& entry, Tier tier);
  Slots& slots(Tier tier) { return tier == Tier::host ? host_ : disk_; }
  static BlockId& slot_of(Entry& entry, Tier tier) { return tier == Tier::host ? entry.host : entry.disk; }

  uint64_t root(CacheSalt salt) const;

  TierConfig config_;
  std::unique_ptr<TierPolicy> policy_;
  std::unordered_map<uint64_t, Entry> entries_;
  Slots host_, disk_;
  std::vector<KvCopy> copies_;
  std::vector<uint64_t> pinned_;
  /// How far a sequence's chain is known: so many blocks, of which the last has this hash. Its salt and these tokens do not change.
  struct End {
    int blocks = 0;
    uint64_t hash = 0;
  };
  std::unordered_map<SeqId, End> ends_;
  uint64_t tick_ = 0, epoch_ = 0;
  TierStats stats_;
};

}  // namespace sluice
