#include "kv/recent_pages.h"

#include <algorithm>

namespace sluice {

RecentPages::RecentPages(RecentKv kv, int blocks, int block_tokens)
    : kv_(kv), block_tokens_(block_tokens), pages_(kv.pages, block_tokens), kept_(static_cast<size_t>(blocks)), keepers_(static_cast<size_t>(kv.pages)) {
  CHECK(kv.any() && kv.reach >= 1, "{} pages for {} tokens", kv.pages, kv.reach);
}

void RecentPages::keep(BlockId block, BlockRef page) {
  ++keepers_[page.id()];
  Kept& kept = kept_[block];
  kept.page = std::move(page);
  kept.passed = false;
  kept.at = ends_.insert(ends_.end(), block);
}

void RecentPages::drop(BlockId block) {
  Kept& kept = kept_[block];
  if (!kept.page) return;
  --keepers_[kept.page.id()];
  (kept.passed ? passed_ : ends_).erase(kept.at);
  kept.page = BlockRef();
}

void RecentPages::forget(BlockId block) {
  drop(block);
  kept_[block].wanted = false;
}

/// False: none of these can be taken.
bool RecentPages::reclaim(std::list<BlockId>& order) {
  for (size_t left = order.size(); left > 0; --left) {
    const BlockId oldest = order.front();
    const BlockRef& page = kept_[oldest].page;
    if (page.count() == keepers_[page.id()]) {
      drop(oldest);
      ++reclaimed_;
      return true;
    }
    order.splice(order.end(), order, order.begin());  // somebody holds it: it is in use
  }
  return false;
}

BlockRef RecentPages::write(BlockId block) {
  CHECK(!kept_[block].page, "block {} has a page already", block);
  // As the blocks of a sequence stand in clusters, so do their pages.
  const BlockId place = block % static_cast<BlockId>(pages_.cluster());
  const BlockPool::Spot spot{place > 0 && kept_[block - 1].page ? kept_[block - 1].page.id() : kNoBlock, place};
  while (!pages_.finds(spot) && reclaim(passed_)) {
  }
  while (pages_.free() == 0 && (reclaim(passed_) || reclaim(ends_))) {
  }
  auto page = pages_.allocate(spot);
  pages_.take_freed();  // a list that nobody else reads
  CHECK(page.has_value(), "the plan took more than the {} pages there are", pages_.total());
  keep(block, *page);
  return std::move(*page);
}

void RecentPages::want(BlockId block) {
  Kept& kept = kept_[block];
  kept.wanted = true;
  if (!kept.page) return;
  ends_.splice(ends_.end(), kept.passed ? passed_ : ends_, kept.at);
  kept.passed = false;
}

void RecentPages::pass(BlockId block) {
  Kept& kept = kept_[block];
  if (!kept.page || kept.wanted) return;
  passed_.splice(passed_.end(), kept.passed ? passed_ : ends_, kept.at);
  kept.passed = true;
}

void RecentPages::adopt(BlockId block, const BlockRef& page) {
  if (page && !kept_[block].page) keep(block, page);
}

int RecentPages::resumable(std::span<const BlockRef> blocks, int computed) const {
  int best = 0, missing = -1;  // the last block without a page
  for (int i = 0; i * block_tokens_ < computed; ++i) {
    if (!kept_[blocks[static_cast<size_t>(i)].id()].page) missing = i;
    const int end = std::min(computed, (i + 1) * block_tokens_);
    if (missing < first_block(end)) best = end;
  }
  return best;
}

bool RecentPages::consistent(int held) const {
  std::vector<int> keepers(keepers_.size());
  size_t kept = 0;
  for (size_t block = 0; block < kept_.size(); ++block)
    if (kept_[block].page) {
      ++keepers[kept_[block].page.id()], ++kept;
      if (*kept_[block].at != static_cast<BlockId>(block)) return false;
    }
  int references = 0;
  for (int page = 0; page < pages_.total(); ++page) references += pages_.count(static_cast<BlockId>(page));
  return references == held + static_cast<int>(kept) && keepers == keepers_ && kept == passed_.size() + ends_.size() && pages_.consistent();
}

}  // namespace sluice
