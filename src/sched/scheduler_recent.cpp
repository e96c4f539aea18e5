// What the scheduler does where layers that read the last tokens only have their KV in pages (kv/recent_pages.h, docs/adr/0020):
// whoever runs holds the pages that its next token reads, and for that many pages there is room.

#include <algorithm>

#include "kv/recent_pages.h"
#include "sched/scheduler.h"

namespace sluice {

/// For a block of the table that is to be written.
void Scheduler::take_page(BlockTable& table, int block) {
  if (pool_.recent() != nullptr) table.set_page(block, pool_.recent()->write(table[block].id()));
}

void Scheduler::push_fresh(BlockTable& table) {
  table.push(fresh_block(table.ids()));
  take_page(table, table.size() - 1);
}

/// Shortens a hit to where the pages are there that the next token reads; `computed`: where it would start. Returns the blocks that
/// would have been read there.
std::vector<BlockId> Scheduler::trim_to_pages(PrefixHit& hit, int computed) const {
  std::vector<BlockId> wanted;
  if (pool_.recent() == nullptr) return wanted;
  const int from = pool_.recent()->resumable(hit.blocks, computed);
  if (from == computed) return wanted;
  for (size_t i = static_cast<size_t>(pool_.recent()->first_block(computed)); i < hit.blocks.size(); ++i) wanted.push_back(hit.blocks[i].id());
  hit.blocks.resize(static_cast<size_t>(from / pool_.block_tokens()));
  return wanted;
}

/// Of the blocks that cover `computed` tokens, the pages of the last ones.
std::vector<BlockRef> Scheduler::pages_read(std::span<const BlockRef> blocks, int computed) const {
  std::vector<BlockRef> pages;
  if (pool_.recent() == nullptr) return pages;
  for (int i = pool_.recent()->first_block(computed); i * pool_.block_tokens() < computed; ++i) pages.push_back(pool_.recent()->find(blocks[static_cast<size_t>(i)].id()));
  return pages;
}

void Scheduler::want_pages(const Decision::Admission& admission) {
  if (pool_.recent() == nullptr) return;
  for (size_t i = static_cast<size_t>(pool_.recent()->first_block(admission.computed)); i < admission.hit.blocks.size(); ++i) pool_.recent()->want(admission.hit.blocks[i].id());
  for (const BlockId block : admission.wanted) pool_.recent()->want(block);
}

/// Those of pages_read(), for a table of the same blocks.
void Scheduler::set_pages(BlockTable& table, int computed, std::vector<BlockRef> pages) {
  if (pages.empty()) return;
  for (int i = pool_.recent()->first_block(computed); BlockRef& page : pages) table.set_page(i++, std::move(page));
}

/// From where on a child of `computed` tokens can go on that has this table's blocks, with the pages that the table itself holds.
int Scheduler::resumable(const BlockTable& table, int computed) {
  if (pool_.recent() == nullptr) return computed;
  for (int i = table.first_page(); i < table.size(); ++i) pool_.recent()->adopt(table[i].id(), table.page(i));
  return pool_.recent()->resumable(table.refs(), computed);
}

/// 0 where there are none.
int Scheduler::most_pages(const Sequence& seq) const {
  if (pool_.recent() == nullptr) return 0;
  const int64_t longest = int64_t{seq.prompt_tokens()} + seq.request->max_tokens;
  return pool_.recent()->kv().most_of(std::min<int64_t>(longest, config_.max_model_len), pool_.block_tokens());
}

/// Pages that are left when all that run hold as many as they ever may, and a step takes its own.
int Scheduler::free_page_seats() const {
  if (pool_.recent() == nullptr) return 0;
  const RecentKv& kv = pool_.recent()->kv();
  int64_t left = int64_t{kv.pages} - kv.most_of_step(config_.max_num_batched_tokens, pool_.block_tokens());
  for (const Sequence* seq : running_) left -= most_pages(*seq);
  return static_cast<int>(left);
}

/// After a step: blocks that it made full may be the cache's now, and pages are behind.
void Scheduler::settle_pages(Sequence& seq, int full_before, int full) {
  if (pool_.recent() == nullptr) return;
  for (int i = full_before; i < full; ++i) pool_.recent()->adopt(seq.table[i].id(), seq.table.page(i));
  // Where the prompt ends others may part: samples, another answer, a next turn without this one's reasoning.
  RecentPages& recent = *pool_.recent();
  const int left = recent.first_block(seq.computed), prompt = seq.prompt_tokens();
  for (int i = seq.table.first_page(); i < left; ++i)
    if (i < recent.first_block(prompt) || i * pool_.block_tokens() >= prompt) recent.pass(seq.table[i].id());
  seq.table.leave_pages(left);
}

}  // namespace sluice
