#include "kv/allocator/churned_table.h"

#include <algorithm>
#include <deque>

#include "base/rng.h"

namespace sluice {

std::vector<BlockId> churned_table(const KvAllocator& allocator, int tokens, int block_tokens, Rng& rng) {
  constexpr int kOthers = 15;
  const int most = std::clamp(tokens / 8, 32, 2048), chunk = most / 4;
  struct Other {
    BlockTable table;
    int tokens = 0, end = 0;
  };
  BlockPool pool(allocator.blocks_to_hold(tokens) + (kOthers + 1) * allocator.blocks_to_hold(most), block_tokens);
  std::deque<BlockTable> ended;
  const auto grow = [&](BlockTable& table, int to) {
    for (const int hold = allocator.blocks_to_hold(to); table.size() < hold;) {
      while (!ended.empty() && !allocator.finds(pool, table)) ended.pop_front();
      table.push(*allocator.next(pool, table));
    }
  };
  std::vector<Other> others(kOthers);
  const auto step = [&] {
    for (Other& o : others) {
      if (o.tokens >= o.end) {
        ended.push_back(std::move(o.table));
        o.table = BlockTable();
        o.tokens = static_cast<int>(rng.between(16, most / 2));
        o.end = o.tokens + static_cast<int>(rng.between(1, most / 2));
      }
      grow(o.table, o.tokens++);
    }
  };
  for (int64_t taken = 0, most = int64_t{8} * pool.total() * block_tokens; taken < most; taken += 2 * kOthers) step();
  BlockTable table;
  for (int now = 0; now < tokens; step()) grow(table, now = std::min(tokens, now + (now + chunk < tokens ? chunk : 1)));
  return {table.ids().begin(), table.ids().end()};
}

}  // namespace sluice
