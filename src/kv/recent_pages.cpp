#include "kv/recent_pages.h"

#include <algorithm>

namespace sluice {

RecentPages::RecentPages(RecentKv kv, int blocks, int block_tokens)
    : kv_(kv), block_tokens_(block_tokens), pages_(kv.pages, block_tokens), kept_(static_cast<size_t>(blocks)), keepers_(static_cast<size_t>(kv.pages)) {
  CHECK(kv.any() && kv.reach >= 1, "{} pages for {} tokens", kv.pages, kv.reach);
}

void RecentPages::keep(BlockId block, BlockRef page) {
  ++keepers_[page.id()];
  kept_[block] = {std::move(page), order_.insert(order_.end(), block)};
}

void RecentPages::forget(BlockId block) {
  if (!kept_[block].page) return;
  --keepers_[kept_[block].page.id()];
  order_.erase(kept_[block].at);
  kept_[block].page = BlockRef();
}

BlockRef RecentPages::write(BlockId block) {
  CHECK(!kept_[block].page, "block {} has a page already", block);
  // Those that somebody holds go to the end: they are in use.
  for (size_t left = order_.size(); pages_.free() == 0 && left > 0; --left) {
    const BlockId oldest = order_.front();
    if (kept_[oldest].page.count() > keepers_[kept_[oldest].page.id()]) {
      order_.splice(order_.end(), order_, order_.begin());
      continue;
    }
    forget(oldest);
    ++reclaimed_;
  }
  auto page = pages_.allocate();
  CHECK(page.has_value(), "the plan took more than the {} pages there are", pages_.total());
  keep(block, *page);
  return std::move(*page);
}

BlockRef RecentPages::use(BlockId block) {
  if (kept_[block].page) order_.splice(order_.end(), order_, kept_[block].at);
  return kept_[block].page;
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
  return references == held + static_cast<int>(kept) && keepers == keepers_ && kept == order_.size() && pages_.consistent();
}

}  // namespace sluice
