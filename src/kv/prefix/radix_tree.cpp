#include "kv/prefix/radix_tree.h"

#include <algorithm>

namespace sluice {

RadixTree::RadixTree(BlockPool& pool) : pool_(pool) {}

RadixTree::~RadixTree() {
  // Clients choose how deep the tree gets: it is taken apart without recursion.
  std::vector<std::unique_ptr<Node>> open;
  for (auto& [salt, root] : roots_) open.push_back(std::move(root));
  while (!open.empty()) {
    const std::unique_ptr<Node> node = std::move(open.back());
    open.pop_back();
    for (BlockRef& block : node->blocks) pool_.set_cached(block.id(), false);
    for (auto& [first, below] : node->children) open.push_back(std::move(below));
  }
}

RadixTree::Node* RadixTree::child(const Node& node, std::span<const TokenId> block) const {
  const auto it = node.children.find(Block(block.begin(), block.end()));
  return it == node.children.end() ? nullptr : it->second.get();
}

int RadixTree::common_blocks(const Node& node, std::span<const TokenId> tokens) const {
  const size_t limit = std::min(node.tokens.size(), tokens.size());
  const auto first_difference = std::mismatch(tokens.begin(), tokens.begin() + limit, node.tokens.begin()).first;
  return static_cast<int>(first_difference - tokens.begin()) / pool_.block_tokens();
}

PrefixHit RadixTree::match(CacheSalt salt, std::span<const TokenId> tokens) const {
  PrefixHit hit;
  const auto root = roots_.find(salt);
  if (root == roots_.end()) return hit;
  const size_t block_tokens = static_cast<size_t>(pool_.block_tokens());
  const Node* node = root->second.get();
  while (tokens.size() >= block_tokens) {
    node = child(*node, tokens.first(block_tokens));
    if (node == nullptr) break;
    const int common = common_blocks(*node, tokens);
    hit.blocks.insert(hit.blocks.end(), node->blocks.begin(), node->blocks.begin() + common);
    if (common < static_cast<int>(node->blocks.size())) break;
    tokens = tokens.subspan(common * block_tokens);
  }
  return hit;
}

void RadixTree::touch(Node& node) {
  const bool leaf = node.children.empty();
  if (leaf) leaves_.erase({node.last_used, &node});
  node.last_used = tick_;
  if (leaf) leaves_.insert({node.last_used, &node});
}

void RadixTree::commit(CacheSalt salt, const PrefixHit& hit, std::span<const TokenId> tokens) {
  ++tick_;
  const size_t block_tokens = static_cast<size_t>(pool_.block_tokens());
  size_t left = hit.blocks.size();
  Node* node = left > 0 ? roots_.at(salt).get() : nullptr;
  while (left > 0) {
    node = child(*node, tokens.first(block_tokens));
    CHECK(node != nullptr, "a pinned hit left the tree");
    touch(*node);
    const size_t here = std::min(left, node->blocks.size());
    tokens = tokens.subspan(here * block_tokens);
    left -= here;
  }
}

void RadixTree::split(Node& node, int keep_blocks) {
  // `node` keeps its place, its id and the first blocks; what follows moves to a new child that takes over its children.
  const size_t block_tokens = static_cast<size_t>(pool_.block_tokens());
  const size_t at = keep_blocks * block_tokens;
  auto below = std::make_unique<Node>();
  if (node.children.empty()) leaves_.erase({node.last_used, &node});
  below->parent = &node;
  below->last_used = node.last_used;
  below->tokens.assign(node.tokens.begin() + at, node.tokens.end());
  below->blocks.assign(std::make_move_iterator(node.blocks.begin() + keep_blocks),
                       std::make_move_iterator(node.blocks.end()));
  below->children = std::move(node.children);
  for (auto& [first, grandchild] : below->children) grandchild->parent = below.get();
  if (below->children.empty()) leaves_.insert({below->last_used, below.get()});
  node.tokens.resize(at);
  node.blocks.resize(keep_blocks);
  node.children.clear();
  Block first(below->tokens.begin(), below->tokens.begin() + block_tokens);
  node.children.emplace(std::move(first), std::move(below));
}

void RadixTree::insert(CacheSalt salt, std::span<const TokenId> tokens, int full_blocks, BlockTable& table) {
  if (full_blocks == 0) return;
  ++tick_;
  const size_t block_tokens = static_cast<size_t>(pool_.block_tokens());
  auto& root = roots_[salt];
  if (root == nullptr) root = std::make_unique<Node>();
  Node* node = root.get();
  tokens = tokens.first(full_blocks * block_tokens);
  int done = 0;
  while (done < full_blocks) {
    const auto rest = tokens.subspan(done * block_tokens);
    Node* next = child(*node, rest.first(block_tokens));
    if (next != nullptr) {
      const int common = common_blocks(*next, rest);
      for (int i = 0; i < common; ++i)
        if (next->blocks[i].id() != table[done + i].id()) table.replace(done + i, next->blocks[i]);
      if (common < static_cast<int>(next->blocks.size()) && done + common < full_blocks) split(*next, common);
      touch(*next);
      done += common;
      node = next;
      continue;
    }
    // New blocks. A leaf that nobody branches from grows in place, so that a decoding sequence stays one node.
    const bool grow = node->parent != nullptr && node->children.empty();
    if (!grow) {
      auto made = std::make_unique<Node>();
      made->parent = node;
      made->last_used = tick_;
      Node* leaf = made.get();
      if (node->parent != nullptr && node->children.empty()) leaves_.erase({node->last_used, node});
      node->children.emplace(Block(rest.begin(), rest.begin() + block_tokens), std::move(made));
      leaves_.insert({leaf->last_used, leaf});
      node = leaf;
    }
    node->tokens.insert(node->tokens.end(), rest.begin(), rest.end());
    for (; done < full_blocks; ++done) {
      CHECK(!pool_.is_cached(table[done].id()), "block {} is cached under two prefixes", table[done].id());
      pool_.set_cached(table[done].id(), true);
      node->blocks.push_back(table[done]);
      ++blocks_;
    }
  }
}

int RadixTree::evict(int blocks) {
  const size_t block_tokens = static_cast<size_t>(pool_.block_tokens());
  int freed = 0;
  for (auto it = leaves_.begin(); it != leaves_.end() && freed < blocks;) {
    Node* node = it->second;
    while (freed < blocks && node->blocks.back().count() == 1) {
      // The first block is the key under which the parent finds this node: it is the last to go, with the node.
      const bool last = node->blocks.size() == 1;
      const Block key(node->tokens.begin(), node->tokens.begin() + (last ? block_tokens : 0));
      pool_.set_cached(node->blocks.back().id(), false);
      node->blocks.pop_back();
      node->tokens.resize(node->blocks.size() * block_tokens);
      --blocks_;
      ++freed;
      if (!last) continue;
      it = leaves_.erase(it);
      Node* parent = node->parent;
      parent->children.erase(parent->children.find(key));
      if (parent->parent != nullptr && parent->children.empty()) {
        const auto added = leaves_.insert({parent->last_used, parent}).first;
        if (it == leaves_.end() || *added < *it) it = added;
      }
      node = nullptr;
      break;
    }
    if (node != nullptr) ++it;
  }
  return freed;
}

bool RadixTree::node_consistent(const Node& node) const {
  const size_t block_tokens = static_cast<size_t>(pool_.block_tokens());
  if (node.tokens.size() != node.blocks.size() * block_tokens) return false;
  if (node.parent != nullptr && node.blocks.empty()) return false;
  for (const BlockRef& block : node.blocks)
    if (!pool_.is_cached(block.id()) || block.count() < 1) return false;
  if (node.parent != nullptr && node.children.empty() && !leaves_.contains({node.last_used, const_cast<Node*>(&node)})) return false;
  return std::ranges::all_of(node.children, [&](const auto& entry) {
    const auto& [first, below] = entry;
    return below->parent == &node && below->tokens.size() >= block_tokens && std::equal(first.begin(), first.end(), below->tokens.begin());
  });
}

bool RadixTree::consistent() const {
  size_t blocks = 0, leaves = 0;
  std::vector<const Node*> open;
  for (const auto& [salt, root] : roots_) {
    if (root->parent != nullptr) return false;
    open.push_back(root.get());
  }
  while (!open.empty()) {
    const Node& node = *open.back();
    open.pop_back();
    if (!node_consistent(node)) return false;
    blocks += node.blocks.size();
    leaves += node.parent != nullptr && node.children.empty();
    for (const auto& [first, below] : node.children) open.push_back(below.get());
  }
  return blocks == static_cast<size_t>(blocks_) && leaves == leaves_.size();
}

}  // namespace sluice
