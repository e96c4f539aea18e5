// Small blocks share tiles (docs/adr/0021): what is written, saved, given back and copied of one is its own.

#include "exec/kv_arena.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <vector>

#include "backend/op_table.h"
#include "base/rng.h"

namespace sluice {
namespace {

constexpr int kArenaBlocks = 37, kHeads = 2, kDim = 20;  // no whole number of clusters
const KvSpec kArenaSpec = {{{.layers = 2, .kv_heads = kHeads, .head_dim = kDim}, {.kind = KvGroup::Kind::latent, .layers = 1, .kv_heads = 1, .head_dim = 24}}};

struct Arena {
  KvArena kv;
  int block_tokens;
  std::map<int64_t, std::vector<float>> wrote;  // by slot: what every layer's rows decode to

  Arena(const KvFormats& formats, int tokens) : kv(KvArena::allocate(kArenaSpec, formats, kArenaBlocks, tokens).value()), block_tokens(tokens) {}

  std::vector<float> read(int64_t slot) const {
    std::vector<float> out;
    for (const KvLayerView& layer : kv.layers())
      for (int s = 0; s < layer.sides(); ++s)
        for (int head = 0; head < layer.kv_heads; ++head) {
          std::vector<float> row(static_cast<size_t>(layer.head_dim));
          KvRow(layer, s == 0 ? layer.k : layer.v, static_cast<BlockId>(slot / block_tokens), static_cast<int>(slot % block_tokens), head).decode(layer, row.data());
          out.insert(out.end(), row.begin(), row.end());
        }
    return out;
  }
  void write(const Ops& ops, int64_t slot, Rng& rng) {
    std::vector<float> x(2 * kHeads * kDim);
    for (const KvLayerView& layer : kv.layers()) {
      for (float& v : x) v = static_cast<float>(rng.next_normal());
      ops.write_kv(x.data(), x.data() + kHeads * kDim, {&slot, 1}, layer);
    }
    wrote[slot] = read(slot);
  }
  void check(const char* after) const {
    for (const auto& [slot, x] : wrote) ASSERT_EQ(read(slot), x) << "slot " << slot << " after " << after << ", blocks of " << block_tokens;
  }
};

TEST(KvArena, SmallBlocksKeepTheirRowsApart) {
  ThreadPool pool(1);
  const Ops ops(kRefOps, pool);
  for (const char* names : {"f16", "int8:0,f32", "int4"})
    for (const int block_tokens : {1, 2, 3, 4, 8, 16}) {
      const auto formats = KvFormats::parse(names);
      ASSERT_TRUE(formats.ok());
      Arena a(*formats, block_tokens);
      for (const KvLayerView& layer : a.kv.layers()) EXPECT_EQ(layer.tile_tokens(), block_tokens == 3 ? 3 : 16);
      Rng rng(static_cast<uint64_t>(block_tokens));
      for (int64_t slot = 0; slot < int64_t{kArenaBlocks} * block_tokens; ++slot) a.write(ops, slot, rng);
      a.check("writing");

      const auto now_holds = [&](BlockId to, BlockId from, int first, int tokens, int to_first) {
        for (int t = 0; t < tokens; ++t) a.wrote[int64_t{to} * block_tokens + to_first + t] = a.wrote[int64_t{from} * block_tokens + first + t];
      };
      const size_t bytes = KvArena::block_bytes(kArenaSpec, *formats, block_tokens);
      std::vector<uint8_t> whole(bytes), parts(bytes);
      for (const auto& [from, to] : {std::pair<BlockId, BlockId>{3, 17}, {36, 0}, {5, 6}}) {
        ASSERT_TRUE(a.kv.get(from, whole.data()));
        for (size_t at = 0; at < bytes; at += 50) a.kv.get_part(from, at, std::span(parts).subspan(at, std::min<size_t>(50, bytes - at)));
        ASSERT_EQ(whole, parts);
        a.kv.put(to, whole.data());
        now_holds(to, from, 0, block_tokens, 0);
        a.check("a block was given back");
      }
      ASSERT_TRUE(a.kv.get(20, whole.data()));
      for (size_t at = 0; at < bytes; at += 7) a.kv.put_part(9, at, std::span(whole).subspan(at, std::min<size_t>(7, bytes - at)));
      now_holds(9, 20, 0, block_tokens, 0);
      a.check("a block was given back in parts");
      const int some = (block_tokens + 1) / 2;
      a.kv.copy({.src = 30, .dst = 2, .tokens = some, .src_offset = 0, .dst_offset = block_tokens - some});
      now_holds(2, 30, 0, some, block_tokens - some);
      a.check("a copy");
    }
}

// Layers that read everything, windows in pages and recurrent states, side by side: no byte of one is another's.
TEST(KvArena, LayersOfOneArenaHaveTheirOwnTiles) {
  constexpr int kPages = 21;
  constexpr size_t kStateBytes = 40;
  const KvSpec spec = {{{.layers = 1, .kv_heads = kHeads, .head_dim = kDim},
                        {.kind = KvGroup::Kind::window, .layers = 2, .kv_heads = kHeads, .head_dim = kDim, .window_tokens = 30},
                        {.kind = KvGroup::Kind::state, .layers = 1, .state_bytes = kStateBytes}}};
  ThreadPool pool(1);
  const Ops ops(kRefOps, pool);
  for (const int block_tokens : {1, 4, 16}) {
    const auto formats = KvFormats::parse("f32");
    ASSERT_TRUE(formats.ok());
    const KvArena arena = KvArena::allocate(spec, *formats, kArenaBlocks, block_tokens, 0, kPages).value();
    const auto each = [&](auto rows, auto state) {  // rows(layer, slot, first value), state(bytes, what they are)
      int number = 0;
      for (const KvLayerView& layer : arena.layers()) {
        const int blocks = layer.in_pages ? kPages : kArenaBlocks;
        for (int64_t i = 0; i < (layer.state_bytes > 0 ? blocks : blocks * block_tokens); ++i, ++number)
          if (layer.state_bytes > 0) state(layer.k + static_cast<size_t>(i) * kStateBytes, static_cast<uint8_t>(number));
          else rows(layer, i, static_cast<float>(number));
      }
    };
    constexpr int kValues = kHeads * kDim;
    each(
        [&](const KvLayerView& layer, int64_t slot, float first) {
          std::vector<float> x(2 * kValues);
          for (int i = 0; i < 2 * kValues; ++i) x[static_cast<size_t>(i)] = first + static_cast<float>(i) / (2 * kValues);
          ops.write_kv(x.data(), x.data() + kValues, {&slot, 1}, layer);
        },
        [](uint8_t* bytes, uint8_t is) { std::fill_n(bytes, kStateBytes, is); });
    each(
        [&](const KvLayerView& layer, int64_t slot, float first) {
          for (int i = 0; i < 2 * kValues; i += kDim) {
            float row[kDim];
            KvRow(layer, i < kValues ? layer.k : layer.v, static_cast<BlockId>(slot / block_tokens), static_cast<int>(slot % block_tokens), i % kValues / kDim)
                .decode(layer, row);
            for (int d = 0; d < kDim; ++d) ASSERT_EQ(row[d], first + static_cast<float>(i + d) / (2 * kValues)) << "slot " << slot << ", blocks of " << block_tokens;
          }
        },
        [](const uint8_t* bytes, uint8_t is) { EXPECT_TRUE(std::all_of(bytes, bytes + kStateBytes, [&](uint8_t b) { return b == is; })); });
  }
}

}  // namespace
}  // namespace sluice
