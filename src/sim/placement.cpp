#include "sim/placement.h"

#include <algorithm>
#include <deque>
#include <numeric>

#include "base/rng.h"
#include "kv/allocator/paged.h"
#include "kv/block_table.h"

namespace sluice {
namespace {

std::vector<BlockId> adjoining(int tokens, int block_tokens, Rng&) {
  std::vector<BlockId> blocks(static_cast<size_t>((tokens + block_tokens - 1) / block_tokens));
  std::iota(blocks.begin(), blocks.end(), BlockId{0});
  return blocks;
}

std::vector<BlockId> scattered(int tokens, int block_tokens, Rng& rng) {
  std::vector<BlockId> blocks = adjoining(tokens, block_tokens, rng);
  for (size_t i = blocks.size(); i > 1; --i) std::swap(blocks[i - 1], blocks[rng.below(i)]);
  return blocks;
}

std::vector<BlockId> of_pool(int tokens, int block_tokens, Rng& rng) {
  constexpr int kOthers = 15;
  const int most = std::clamp(tokens / 8, 32, 2048), chunk = most / 4;
  struct Other {
    BlockTable table;
    int tokens = 0, end = 0;
  };
  const PagedAllocator allocator(block_tokens);
  BlockPool pool(allocator.blocks_to_hold(tokens) + (kOthers + 1) * allocator.blocks_to_hold(most), block_tokens);
  std::deque<BlockTable> ended;
  const auto grow = [&](BlockTable& table, int to) {
    for (const int hold = allocator.blocks_to_hold(to); table.size() < hold;) {
      while (!ended.empty() && !allocator.finds(pool, table.ids())) ended.pop_front();
      table.push(*allocator.next(pool, table.ids()));
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
  for (int64_t taken = 0, all = int64_t{8} * pool.total() * block_tokens; taken < all; taken += 2 * kOthers) step();
  BlockTable table;
  for (int now = 0; now < tokens; step()) grow(table, now = std::min(tokens, now + (now + chunk < tokens ? chunk : 1)));
  return {table.ids().begin(), table.ids().end()};
}

constexpr Placement kPlacements[] = {
    {"pool", "as --kv-allocator paged gives them, in a full pool in which sequences come and go", of_pool},
    {"scattered", "each anywhere", scattered},
    {"adjoining", "in their order, as contiguous memory", adjoining},
};

}  // namespace

std::span<const Placement> placements() { return kPlacements; }

const Placement* find_placement(std::string_view name) {
  const auto found = std::ranges::find(kPlacements, name, &Placement::name);
  return found == std::end(kPlacements) ? nullptr : found;
}

}  // namespace sluice
