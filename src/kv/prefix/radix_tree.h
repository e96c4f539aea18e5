#pragma once
// Radix tree over blocks: an edge is a run of full blocks with its tokens, a node ends it; siblings differ in their first
// block. Leaves that nobody uses are evicted block by block from their ends, least recently used first. Lossless.
// Paper: RadixAttention in SGLang (Zheng et al., NeurIPS 2024), section 3.

#include <map>
#include <set>

#include "kv/prefix/prefix_cache.h"

namespace sluice {

class RadixTree final : public PrefixCache {
 public:
  explicit RadixTree(BlockPool& pool);
  ~RadixTree() override;

  PrefixHit match(CacheSalt salt, std::span<const TokenId> tokens) const override;
  void commit(CacheSalt salt, const PrefixHit& hit, std::span<const TokenId> tokens) override;
  void insert(CacheSalt salt, std::span<const TokenId> tokens, int full_blocks, BlockTable& table) override;
  int evict(int blocks) override;
  int evictable() const override { return pool_.idle_cached(); }
  int size() const override { return blocks_; }
  bool consistent() const override;

 private:
  struct Node;
  using Block = std::vector<TokenId>;
  using Children = std::map<Block, std::unique_ptr<Node>, std::less<>>;
  struct Node {
    Node* parent = nullptr;  // null for a root
    std::vector<TokenId> tokens;
    std::vector<BlockRef> blocks;
    Children children;
    uint64_t last_used = 0;
  };

  Node* child(const Node& node, std::span<const TokenId> block) const;
  /// How many whole blocks of the node's edge equal the start of `tokens`.
  int common_blocks(const Node& node, std::span<const TokenId> tokens) const;
  void split(Node& node, int keep_blocks);
  void touch(Node& node);
  bool node_consistent(const Node& node) const;

  BlockPool& pool_;
  std::map<CacheSalt, std::unique_ptr<Node>> roots_;
  std::set<std::pair<uint64_t, Node*>> leaves_;  // (last_used, node)
  uint64_t tick_ = 0;
  int blocks_ = 0;
};

}  // namespace sluice
