#pragma once
// The KV pool as metadata: which blocks are free, and how many references each used block has. Holds no bytes.
// Source: PagedAttention (Kwon et al., SOSP 2023), sections 4.2 and 4.4. A block size of 1 is token-granular allocation
// (LightLLM's TokenAttention) through the same code.
//
// Small blocks come in clusters: those of adjoining ids whose bytes stand in the same tiles of 16 tokens (docs/adr/0021). Whoever
// has one for itself, in order, is read as fast as from a block of 16.

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/ids.h"

namespace sluice {

class BlockPool;
class RecentPages;
struct RecentKv;

/// Kernels read blocks of at most 256; a block may be several of theirs.
inline constexpr int kMostBlockTokens = 1 << 20;

/// Blocks of a cluster, which begins at a multiple of that.
constexpr int cluster_blocks(int block_tokens) { return block_tokens < 16 && 16 % block_tokens == 0 ? 16 / block_tokens : 1; }

/// One reference to one block: copying shares it, destroying releases it.
class BlockRef {
 public:
  BlockRef() = default;
  BlockRef(const BlockRef& other);
  BlockRef(BlockRef&& other) noexcept : pool_(std::exchange(other.pool_, nullptr)), id_(other.id_) {}
  BlockRef& operator=(BlockRef other) noexcept {
    std::swap(pool_, other.pool_);
    std::swap(id_, other.id_);
    return *this;
  }
  ~BlockRef();

  BlockId id() const { return id_; }
  explicit operator bool() const { return pool_ != nullptr; }
  /// References to this block, this one included.
  int count() const;
  /// The same without the prefix cache's.
  int holders() const;

 private:
  friend class BlockPool;
  BlockRef(BlockPool* pool, BlockId id) : pool_(pool), id_(id) {}
  BlockPool* pool_ = nullptr;
  BlockId id_ = kNoBlock;
};

class BlockPool {
 public:
  /// block_tokens in [1, kMostBlockTokens].
  BlockPool(int blocks, int block_tokens);
  /// With pages for the KV of layers that read the last tokens only, if it says any.
  BlockPool(int blocks, int block_tokens, RecentKv recent);
  ~BlockPool();
  BlockPool(const BlockPool&) = delete;
  BlockPool& operator=(const BlockPool&) = delete;

  /// A block that nobody else holds, or nothing when all are in use.
  std::optional<BlockRef> allocate();
  /// The block that allocate() would give.
  std::optional<BlockId> peek() const { return free_.empty() ? std::nullopt : std::optional(free_.back()); }
  /// That very block, which is free.
  BlockRef take(BlockId id);
  /// One more reference to a block in use.
  BlockRef share(BlockId id) {
    CHECK(!is_free(id), "block {} is free: nobody can share it", id);
    add_ref(id);
    return BlockRef(this, id);
  }
  /// Blocks that have become free since the last call, though they may be in use again.
  std::vector<BlockId> take_freed() { return std::exchange(freed_, {}); }
  bool is_free(BlockId id) const { return id < refs_.size() && refs_[id] == 0; }

  int total() const { return static_cast<int>(refs_.size()); }
  int free() const { return static_cast<int>(free_.size()); }
  int block_tokens() const { return block_tokens_; }
  int cluster() const { return cluster_; }
  /// Which block goes on best: the one after `previous`, if that one is in a cluster, else one at `place` of a cluster that is all free.
  struct Spot {
    BlockId previous = kNoBlock;  // kNoBlock: there is none
    BlockId place = 0;            // below cluster()
  };
  /// The best that is free, or any; nothing when all are in use.
  std::optional<BlockRef> allocate(Spot spot);
  /// Whether a good one is. Where it is not, it may be better to let go of some that are only kept, for as long as less than an eighth
  /// of the pool is free here and there.
  bool finds(Spot spot) const;
  /// Null where every block has all layers' KV.
  RecentPages* recent() const { return recent_.get(); }
  int count(BlockId id) const { return refs_[id]; }

  /// A prefix cache marks the blocks of which it holds one reference. idle_cached() counts those that nobody else holds.
  void set_cached(BlockId id, bool cached);
  bool is_cached(BlockId id) const { return cached_[id]; }
  int idle_cached() const { return idle_cached_; }

  /// Recounts everything; false when the books do not agree with themselves.
  bool consistent() const;

 private:
  friend class BlockRef;
  void add_ref(BlockId id);
  void drop_ref(BlockId id);
  void put_back(BlockId id);
  std::optional<BlockId> good(Spot spot) const;

  int block_tokens_, cluster_;
  std::vector<int> refs_;
  std::vector<bool> cached_;
  std::vector<BlockId> free_;  // taken from the back; a fresh pool hands out ascending ids, so that early blocks adjoin
  std::vector<uint32_t> place_;  // in free_, by block, of those that are free
  std::vector<BlockId> free_clusters_;   // as free_
  std::vector<uint32_t> cluster_place_;  // in free_clusters_
  std::vector<int> used_;                // by cluster: blocks that are not free, or that the last one lacks
  std::vector<BlockId> freed_;   // since take_freed()
  int idle_cached_ = 0;
  std::unique_ptr<RecentPages> recent_;
};

inline BlockRef::BlockRef(const BlockRef& other) : pool_(other.pool_), id_(other.id_) {
  if (pool_ != nullptr) pool_->add_ref(id_);
}
inline BlockRef::~BlockRef() {
  if (pool_ != nullptr) pool_->drop_ref(id_);
}
inline int BlockRef::count() const { return pool_ == nullptr ? 0 : pool_->count(id_); }
inline int BlockRef::holders() const { return pool_ == nullptr ? 0 : pool_->count(id_) - pool_->is_cached(id_); }

}  // namespace sluice
