// Recounts the scheduler's books (docs/contracts/kv.md).

#include <algorithm>
#include <map>

#include "kv/recent_pages.h"
#include "sched/scheduler.h"

namespace sluice {

bool Scheduler::consistent(std::string* why) const {
  auto fail = [&](std::string text) {
    if (why != nullptr) *why = std::move(text);
    return false;
  };
  std::map<BlockId, int> held;
  int all_pages = 0;  // that sequences hold
  for (const auto& [id, seq] : sequences_) {
    const bool waits = seq->state == Sequence::State::waiting;
    if (seq->finished()) return fail(fmt::format("sequence {} has finished but is still listed", id));
    if (std::ranges::count(waits ? waiting_ : running_, seq.get()) != 1)
      return fail(fmt::format("sequence {} is not exactly once in its list", id));
    if (waits && (!seq->table.empty() || seq->computed != 0))
      return fail(fmt::format("sequence {} waits but holds blocks", id));
    if (seq->computed >= static_cast<int>(seq->tokens.size()))
      return fail(fmt::format("sequence {}: computed {} of {} tokens", id, seq->computed, seq->tokens.size()));
    if (const int slots = seq->computed - seq->table.dropped(); slots < 0 || slots > seq->table.size() * pool_.block_tokens())
      return fail(fmt::format("sequence {}: computed {}, {} of them in its {} blocks", id, seq->computed, slots, seq->table.size()));
    // What has to go before the next position goes with the step that computes it.
    if (const int due = policies_.retention->dropped_at(seq->prompt_tokens(), std::max(0, seq->computed - 1)); seq->table.dropped() != due && seq->computed > 0)
      return fail(fmt::format("sequence {}: computed {}, and let go of {} of them instead of {}", id, seq->computed, seq->table.dropped(), due));
    for (const BlockRef& block : seq->table.refs()) ++held[block.id()];
    if (pool_.recent() == nullptr) continue;
    for (int i = pool_.recent()->first_block(seq->computed); i * pool_.block_tokens() < seq->computed; ++i)
      if (!seq->table.page(i)) return fail(fmt::format("sequence {}: computed {}, and block {} of its table has lost its page", id, seq->computed, i));
    int pages = 0;
    for (int i = 0; i < seq->table.size(); ++i) pages += static_cast<bool>(seq->table.page(i));
    if (const int most = most_pages(*seq); pages > most) return fail(fmt::format("sequence {} holds {} pages; the most are {}", id, pages, most));
    all_pages += pages;
  }
  if (pool_.recent() != nullptr && !pool_.recent()->consistent(all_pages)) return fail("the recent pages' books are wrong");
  segments_.each_scratch([&](SeqId, const BlockRef& block) { ++held[block.id()]; });
  if (waiting_.size() + running_.size() != sequences_.size()) return fail("a list holds an unknown sequence");
  if (!policies_.queue->rank_moves() && waiting_order_.size() != waiting_.size()) return fail("the queue's order has lost a sequence");
  for (const auto& [key_then, seq] : waiting_order_)
    if (seq->state != Sequence::State::waiting || key_then != key(*seq, 0)) return fail(fmt::format("sequence {} stands in the wrong place of the queue", seq->id));
  int in_use = 0;
  for (int b = 0; b < pool_.total(); ++b) {
    const BlockId id = static_cast<BlockId>(b);
    const int expected = (held.contains(id) ? held[id] : 0) + (pool_.is_cached(id) ? 1 : 0);
    if (pool_.count(id) != expected)
      return fail(fmt::format("block {} has {} references, {} holders", id, pool_.count(id), expected));
    in_use += expected > 0;
  }
  if (in_use + pool_.free() != pool_.total()) return fail("free and used blocks do not add up");
  if (!pool_.consistent()) return fail("the pool's books are wrong");
  if (!cache_.consistent()) return fail("the prefix cache's books are wrong");
  if (!tiers_.consistent()) return fail("the tiers' books are wrong");
  return true;
}

}  // namespace sluice
