#include "exec/virtual_arena.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include <cstring>

#include "base/rng.h"

namespace sluice {
namespace {

KvSpec two_layers() { return {{{KvGroup::Kind::full, 0, 2, 2, 16, 0}}}; }

TEST(VirtualArena, PageGroupsAreWholePagesAndTilesOfEveryLayer) {
  for (const KvFormat* format : kv_formats())
    for (const int tile : {1, 5, 16})
      for (const size_t bytes : {size_t{1}, size_t{4096}, size_t{64} << 10, size_t{2} << 20}) {
        const KvSpec spec{{{KvGroup::Kind::full, 0, 1, 3, 40, 0}, {KvGroup::Kind::full, 1, 1, 2, 64, 0}}};
        const int tokens = VirtualArena::page_group_tokens(spec, *format, tile, bytes);
        EXPECT_EQ(tokens % tile, 0);
        for (const KvGroup& g : spec.groups) {
          const size_t group = static_cast<size_t>(g.kv_heads) * format->tile_bytes(tile, g.head_dim) *
                               static_cast<size_t>(tokens / tile);
          EXPECT_EQ(group % 4096, 0u);
          EXPECT_GE(group, bytes);
        }
      }
}

TEST(VirtualArena, RefusesWhatTheKernelCannotMap) {
  const int unit = VirtualArena::page_group_tokens(two_layers(), kKvF32, 16, 1);
  KvStoreOptions options{"virtual", 1 << 20, unit, 16, 256, unit * 4096};
  const auto arena = VirtualArena::open(two_layers(), kKvF32, options);
  ASSERT_FALSE(arena.ok());
  EXPECT_NE(arena.error().message.find("max_map_count"), std::string::npos) << arena.error().message;
  options.block_tokens = unit + 1;
  EXPECT_FALSE(VirtualArena::open(two_layers(), kKvF32, options).ok());
}

// Sequences whose block tables come and go at random: a position reads what was written for it, through whatever table
// the arena gives, where blocks are shared and copied too.
void check_random_tables(int most_groups) {
  constexpr int kTile = 16, kSlots = 3, kBlocks = 20;
  const KvSpec spec = two_layers();
  const int group = VirtualArena::page_group_tokens(spec, kKvF32, kTile, 4096), context = 4 * group;
  auto opened = VirtualArena::open(spec, kKvF32, {"virtual", kBlocks, group, kTile, kSlots, context, most_groups});
  ASSERT_TRUE(opened.ok()) << opened.error().message;
  VirtualArena& arena = **opened;
  Rng rng(3);
  std::vector<std::vector<BlockId>> tables(5);
  std::vector<uint8_t> stamp(kBlocks, 0);  // by block: what its first row begins with
  Request request;
  for (int step = 0; step < 400; ++step) {
    StepPlan plan;
    std::vector<size_t> running;
    for (size_t s = 0; s < tables.size() && running.size() < kSlots; ++s)
      if (rng.below(2) == 0) running.push_back(s);
    for (const size_t s : running) {
      if (tables[s].empty() || rng.below(8) == 0) tables[s].assign(1 + rng.below(4), 0);
      if (rng.below(4) == 0)
        for (BlockId& id : tables[s]) id = static_cast<BlockId>(rng.below(kBlocks));
      PlanItem item;
      item.seq = s + 1;
      item.n_tokens = static_cast<int>(rng.between(1, static_cast<int64_t>(tables[s].size()) * group));
      item.blocks = tables[s];
      item.request = &request;
      plan.items.push_back(item);
    }
    const BlockId src = static_cast<BlockId>(rng.below(kBlocks)), dst = static_cast<BlockId>(rng.below(kBlocks));
    if (src != dst) {
      arena.copy({src, dst, static_cast<int>(rng.between(1, group))});
      stamp[dst] = stamp[src];
    }
    arena.prepare(plan);
    for (size_t i = 0; i < plan.items.size(); ++i) {
      const std::span<const BlockId> table = arena.table(plan, i);
      const int tiles = group / kTile, used = (plan.items[i].n_tokens + group - 1) / group;
      for (const KvLayerView& layer : arena.layers())
        for (int g = 0; g < used; ++g) {
          uint8_t* at = layer.k + table[static_cast<size_t>(g * tiles)] * layer.tile_bytes() *
                                      static_cast<size_t>(layer.kv_heads);
          const BlockId block = plan.items[i].blocks[static_cast<size_t>(g)];
          ASSERT_EQ(*at, stamp[block]) << "step " << step << ", block " << block;
        }
      for (int g = 0; g < used; ++g) {
        const BlockId block = plan.items[i].blocks[static_cast<size_t>(g)];
        stamp[block] = static_cast<uint8_t>(rng.below(256));
        for (const KvLayerView& layer : arena.layers())
          layer.k[table[static_cast<size_t>(g * tiles)] * layer.tile_bytes() * static_cast<size_t>(layer.kv_heads)] =
              stamp[block];
      }
    }
  }
  // What the last plan left to the thread is mapped when the machine lets it run.
  for (int wait = 0; wait < 1000 && arena.counts().mapped_ahead == 0; ++wait) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  const VirtualArena::Counts counts = arena.counts();
  EXPECT_GT(counts.mapped_on_path, 0u);
  EXPECT_GT(counts.mapped_ahead, 0u);
  EXPECT_EQ(counts.unmapped_items > 0, most_groups > 0);
  EXPECT_EQ(counts.unmapped > 0, most_groups > 0);
  EXPECT_LE(arena.physical_bytes(), kBlocks * arena.group_bytes());
}

TEST(VirtualArena, APositionKeepsItsValueWhateverIsMapped) { check_random_tables(0); }
TEST(VirtualArena, APositionKeepsItsValueWhereMappingsAreFew) { check_random_tables(5); }

}  // namespace
}  // namespace sluice
