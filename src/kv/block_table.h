#pragma once
// Logical to physical: block i of a sequence holds its slots [i * block_tokens, (i + 1) * block_tokens). A position stands in the
// slot of the same number, or, where the KV of earlier tokens was let go, so many before it. The last blocks also have pages, where
// some layers' KV is apart (kv/recent_pages.h).

#include <algorithm>
#include <span>
#include <vector>

#include "kv/block_pool.h"

namespace sluice {

class BlockTable {
 public:
  int size() const { return static_cast<int>(refs_.size()); }
  bool empty() const { return refs_.empty(); }
  const BlockRef& operator[](int i) const { return refs_[i]; }
  std::span<const BlockRef> refs() const { return refs_; }
  /// The ids alone, as kernels read them; valid until the table changes.
  std::span<const BlockId> ids() const { return ids_; }
  /// The page of block i, or nothing; and their ids, 0 where there is none.
  const BlockRef& page(int i) const { return pages_[i]; }
  std::span<const BlockId> page_ids() const { return page_ids_; }

  void push(BlockRef ref, BlockRef page = {}) {
    ids_.push_back(ref.id());
    refs_.push_back(std::move(ref));
    pages_.emplace_back();
    page_ids_.push_back(0);
    if (page) set_page(size() - 1, std::move(page));
  }
  void set_page(int i, BlockRef page) {
    page_ids_[i] = page.id();
    pages_[i] = std::move(page);
    first_page_ = std::min(first_page_, i);
  }
  /// No block before it has a page.
  int first_page() const { return first_page_; }
  /// Lets go of the pages of the blocks before this one.
  void leave_pages(int before) {
    for (; first_page_ < std::min(before, size()); ++first_page_) pages_[first_page_] = {}, page_ids_[first_page_] = 0;
  }
  void replace(int i, BlockRef ref) {
    ids_[i] = ref.id();
    refs_[i] = std::move(ref);
  }
  /// From the end, so that the pool gives blocks again in the order that they had here.
  void truncate(int blocks) {
    while (size() > blocks) refs_.pop_back(), pages_.pop_back();
    ids_.resize(blocks);
    page_ids_.resize(blocks);
    first_page_ = std::min(first_page_, blocks);
  }
  void clear() {
    truncate(0);
    dropped_ = 0;
  }

  /// Tokens whose KV was let go (kv/retention).
  int dropped() const { return dropped_; }
  void set_dropped(int tokens) { dropped_ = tokens; }

 private:
  std::vector<BlockRef> refs_, pages_;
  std::vector<BlockId> ids_, page_ids_;
  int first_page_ = 0;
  int dropped_ = 0;
};

}  // namespace sluice
