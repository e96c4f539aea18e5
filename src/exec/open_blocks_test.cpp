// Which blocks have their rows in full, and what a copy of one takes along.

#include "exec/open_blocks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "exec/kv_arena.h"

namespace sluice {
namespace {

TEST(OpenBlocks, TilesGoRound) {
  OpenBlocks open(10, 2);
  open.open(7);
  open.open(3);
  open.open(7);  // again: the same tile
  EXPECT_EQ(open.open_count(), 2);
  EXPECT_NE(open.tiles()[7], open.tiles()[3]);
  const BlockId tile = open.tiles()[7];
  open.close(7);
  open.close(7);
  EXPECT_EQ(open.tiles()[7], kNoBlock);
  open.open(9);
  EXPECT_EQ(open.tiles()[9], tile);
  EXPECT_EQ(open.open_count(), 2);
}

constexpr int kOpenBlockTokens = 32;
const KvSpec kOpenSpec = {{{.layers = 3, .kv_heads = 2, .head_dim = 20}}};

PlanItem item(int first_pos, int n_tokens, const std::vector<BlockId>& blocks) {
  PlanItem item;
  item.first_pos = first_pos, item.n_tokens = n_tokens, item.blocks = blocks;
  return item;
}

TEST(KvArenaOfBlockFormats, BlocksAreOpenFromTheirFirstRowUntilTheStepThatFillsThemOrTheyAreFreed) {
  auto arena = KvArena::allocate(kOpenSpec, kKvKivi2, 8, kOpenBlockTokens, 4);
  ASSERT_TRUE(arena.ok());
  const std::vector<BlockId> a{5, 2, 6}, b{1};
  const auto step = [&](StepPlan plan, int while_running, int after) {
    arena->prepare(plan);
    EXPECT_EQ(arena->open_blocks(), while_running);
    arena->finish(plan);
    EXPECT_EQ(arena->open_blocks(), after);
  };
  step({.items = {item(0, 20, a), item(0, 1, b)}}, 2, 2);
  step({.items = {item(20, 44, a), item(1, 1, b)}}, 3, 1);  // a fills its second block: none is left open
  step({.items = {item(64, 3, a)}}, 2, 2);
  step({.freed = {1}}, 1, 1);
  step({.freed = {6}, .items = {item(0, 5, {6})}}, 1, 1);  // freed, and another's
  // A sequence that has to go back to its first block leaves none behind.
  const std::vector<BlockId> c{6, 7};
  step({.items = {item(5, 40, c)}}, 2, 1);
  step({.items = {item(0, 10, c)}}, 1, 1);
}

TEST(KvArenaOfBlockFormats, ACopyTakesOpenRowsOfLayersThatSealAndRowsOfThoseThatDoNot) {
  const auto formats = KvFormats::parse("f32:1,kivi4");
  ASSERT_TRUE(formats.ok());
  auto arena = KvArena::allocate(kOpenSpec, *formats, 4, kOpenBlockTokens, 3);
  ASSERT_TRUE(arena.ok());
  const std::vector<BlockId> from{2};
  const StepPlan plan{.items = {item(0, 20, from)}};
  arena->prepare(plan);
  const auto half = [](uint8_t* tile, int t) { return tile + static_cast<size_t>(t) * kKvF16.row_bytes(20); };
  for (const KvLayerView& layer : arena->layers())
    for (int t = 0; t < 20; ++t) {
      if (layer.format->block == nullptr) std::memset(layer.v + 2 * 2 * layer.tile_bytes() + static_cast<size_t>(t) * 80, t + 1, 80);
      else std::memset(half(layer.open_v + layer.open_tile(2) * 2 * kKvF16.tile_bytes(kOpenBlockTokens, 20), t), t + 1, 40);
    }
  arena->finish(plan);
  arena->copy({2, 3, 19});
  EXPECT_EQ(arena->open_blocks(), 2);
  for (const KvLayerView& layer : arena->layers()) {
    const uint8_t* row = layer.format->block == nullptr ? layer.v + 3 * 2 * layer.tile_bytes() + size_t{18} * 80
                                                        : half(layer.open_v + layer.open_tile(3) * 2 * kKvF16.tile_bytes(kOpenBlockTokens, 20), 18);
    const int bytes = layer.format->block == nullptr ? 80 : 40;
    EXPECT_EQ(std::count(row, row + bytes, 19), bytes);
    EXPECT_EQ(std::count(row + bytes, row + 2 * bytes, 20), 0) << "more than 19 rows were copied";
  }
}

TEST(KvArenaOfBlockFormats, LayersThatAreEncodedTogetherSeeEachOther) {
  const auto formats = KvFormats::parse("f16,minicache:1-2");
  ASSERT_TRUE(formats.ok());
  auto first = KvArena::allocate(kOpenSpec, *formats, 4, 64, 3);
  ASSERT_TRUE(first.ok()) << first.error().message;
  KvArena arena = std::move(*first);  // views stay where they are
  const auto layers = arena.layers();
  EXPECT_EQ(layers[0].pair, nullptr);
  EXPECT_EQ(layers[1].pair, &layers[1]);
  EXPECT_EQ(layers[2].pair, &layers[1]);
  EXPECT_EQ(layers[1].side, 0);
  EXPECT_EQ(layers[2].side, 1);
  EXPECT_NE(layers[1].pair[0].open_k, nullptr);
  EXPECT_EQ(layers[1].pair[1].open_v, layers[2].open_v);
  EXPECT_FALSE(arena.in_parts()) << "the lower layer would read what has not been loaded of the upper one";
  EXPECT_TRUE(KvArena::allocate(kOpenSpec, kKvKivi4, 4, 64, 3)->in_parts());
}

TEST(KvArenaOfBlockFormats, LayersOfDifferentShapesAreNotEncodedTogether) {
  const KvSpec spec = {{{.layers = 2, .kv_heads = 2, .head_dim = 20}, {.layers = 1, .kv_heads = 1, .head_dim = 20}}};
  const auto arena = KvArena::allocate(spec, *KvFormats::parse("f16,minicache:1-2"), 4, 64);
  ASSERT_FALSE(arena.ok());
  EXPECT_NE(arena.error().message.find("layer 1 has no other of its shape"), std::string::npos) << arena.error().message;
  EXPECT_FALSE(KvArena::allocate(kOpenSpec, kKvMiniCache, 4, 64).ok()) << "of all layers: nothing says which are pairs";
}

TEST(KvArenaOfBlockFormats, BytesAreTheSumOfTheLayers) {
  const auto formats = KvFormats::parse("f32:1,kivi4");
  ASSERT_TRUE(formats.ok());
  const size_t two = 2 * 2 * kKvKivi4.tile_bytes(kOpenBlockTokens, 20), one = 2 * kKvF32.tile_bytes(kOpenBlockTokens, 20);
  EXPECT_EQ(KvArena::block_bytes(kOpenSpec, *formats, kOpenBlockTokens), 2 * (two + one));
  EXPECT_EQ(KvArena::open_block_bytes(kOpenSpec, *formats, kOpenBlockTokens), 2 * 2 * 2 * kKvF16.tile_bytes(kOpenBlockTokens, 20));
  EXPECT_EQ(KvArena::open_block_bytes(kOpenSpec, kKvInt8, kOpenBlockTokens), 0u);
}

}  // namespace
}  // namespace sluice
