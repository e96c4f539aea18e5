// Formats that encode two layers together, in attention: against a cache of what their codec gives, and their bits over tables,
// threads and chunks.

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/support/paged_kv.h"

namespace sluice {
namespace {

using namespace test;

/// Two layers' KV, of which the tiles are shared.
struct PairedKv {
  PagedKv lower, upper;
  KvLayerView views[2];
  PairedKv(const HeadShape& s, int block_tokens, int blocks, Rng& rng)
      : lower(s, kKvMiniCache, block_tokens, blocks, rng), upper(s, kKvMiniCache, block_tokens, blocks, rng), views{lower.view, upper.view} {
    for (int side : {0, 1}) views[side].pair = views, views[side].side = side;
  }
};

/// What a row of each layer attends to, with rows fed as a model would: each chunk through the lower layer, then the upper.
/// Chunks end at the ends of blocks.
std::vector<float> fed(const Ops& ops, const HeadShape& s, const Sequence (&layers)[2], int block_tokens, int chunk) {
  Rng rng(5);
  const int length = layers[0].length;
  PairedKv kv(s, block_tokens, length / block_tokens + 2, rng);
  const std::vector<BlockId>& blocks = kv.lower.free;
  const auto q_row = static_cast<size_t>(s.heads * s.head_dim), kv_row = static_cast<size_t>(s.kv_heads * s.head_dim);
  std::vector<float> out(2 * layers[0].q.size(), NAN);
  for (int at = 0, n; at < length; at += n) {
    n = std::min({chunk, block_tokens - at % block_tokens, length - at});
    std::vector<int64_t> slots;
    for (int pos = at; pos < at + n; ++pos) slots.push_back(int64_t{blocks[static_cast<size_t>(pos / block_tokens)]} * block_tokens + pos % block_tokens);
    const AttendSegment segment{0, n, at, blocks.data()};
    const auto row = static_cast<size_t>(at);
    for (const size_t side : {size_t{0}, size_t{1}}) {
      ops.write_kv(layers[side].k.data() + row * kv_row, layers[side].v.data() + row * kv_row, slots, kv.views[side]);
      ops.attend({layers[side].q.data() + row * q_row, out.data() + side * layers[0].q.size() + row * q_row, s.heads, s.scale(), s.window, kv.views[side],
                  {&segment, 1}});
    }
  }
  return out;
}

/// The keys or values of both layers that a row of the last block reads: blocks before it decoded, the rest as float16.
void read_by_last(const HeadShape& s, KvPart part, int block_tokens, std::vector<float>& lower, std::vector<float>& upper) {
  const auto dim = static_cast<size_t>(s.head_dim), heads = static_cast<size_t>(s.kv_heads), tokens = static_cast<size_t>(block_tokens);
  std::vector<float>* const x[] = {&lower, &upper};
  for (auto* rows : x)
    for (float& v : *rows) {
      uint8_t bits[2];
      kKvF16.encode(&v, 1, bits, nullptr);
      kKvF16.decode(bits, nullptr, 1, &v);
    }
  const size_t length = lower.size() / (heads * dim);
  for (size_t block = 0; block < (length - 1) / tokens; ++block)
    for (size_t h = 0; h < heads; ++h) {
      const auto at = [&](size_t t) { return ((block * tokens + t) * heads + h) * dim; };
      std::vector<float> full[2], back(tokens * dim);
      std::vector<uint8_t> tiles[2];
      for (const size_t side : {size_t{0}, size_t{1}}) {
        tiles[side].resize(kKvMiniCache.tile_bytes(block_tokens, s.head_dim));
        for (size_t t = 0; t < tokens; ++t) full[side].insert(full[side].end(), x[side]->data() + at(t), x[side]->data() + at(t) + dim);
      }
      const KvPairCodec& codec = *kKvMiniCache.block->pair;
      const float* const from[] = {full[0].data(), full[1].data()};
      uint8_t* const to[] = {tiles[0].data(), tiles[1].data()};
      codec.encode(part, from, block_tokens, s.head_dim, to);
      for (const int side : {0, 1}) {
        codec.decode(part, side, to, block_tokens, s.head_dim, 0, block_tokens, codec.directions->block->decode, back.data());
        for (size_t t = 0; t < tokens; ++t) std::copy_n(back.data() + t * dim, dim, x[side]->data() + at(t));
      }
    }
}

TEST(PairFormats, ARowReadsBlocksBeforeItsOwnMergedAndItsOwnInFullWhateverTheChunks) {
  Rng rng(1);
  for (int trial = 0; trial < 4; ++trial) {
    HeadShape s = random_shape(rng);
    s.head_dim = trial == 0 ? 8 : 64;
    const int block_tokens = 64 * static_cast<int>(rng.between(1, 2)), length = static_cast<int>(rng.between(260, 400));
    const Sequence layers[2] = {Sequence(rng, s, length), Sequence(rng, s, length)};
    ThreadPool one(1), three(3);
    const auto whole = fed(Ops(kRefOps, one), s, layers, block_tokens, length);
    for (const OpTable* table : tables()) {
      EXPECT_TRUE(same_bits(whole, fed(Ops(*table, three), s, layers, block_tokens, length))) << table->isa;
      EXPECT_TRUE(same_bits(whole, fed(Ops(*table, three), s, layers, block_tokens, 23))) << table->isa;
    }
    // The last row of each layer over a float32 cache of what it should have read.
    std::vector<float> k[] = {layers[0].k, layers[1].k}, v[] = {layers[0].v, layers[1].v};
    read_by_last(s, KvPart::keys, block_tokens, k[0], k[1]);
    read_by_last(s, KvPart::values, block_tokens, v[0], v[1]);
    const Ops ops(kRefOps, one);
    const auto row = static_cast<size_t>(s.heads * s.head_dim), last = static_cast<size_t>(length - 1);
    for (const size_t side : {size_t{0}, size_t{1}}) {
      PagedKv full(s, kKvF32, block_tokens, length / block_tokens + 2, rng);
      Sequence seq = layers[side];
      seq.k = k[side], seq.v = v[side];
      const std::vector<BlockId> blocks = full.store(ops, seq);
      const AttendSegment segment{0, 1, length - 1, blocks.data()};
      std::vector<float> want(row);
      ops.attend({seq.q.data() + last * row, want.data(), s.heads, s.scale(), s.window, full.view, {&segment, 1}});
      const auto from = whole.begin() + static_cast<int64_t>(side * seq.q.size() + last * row);
      EXPECT_TRUE(same_bits(want, std::vector<float>(from, from + static_cast<int64_t>(row)))) << "layer " << side;
    }
  }
}

TEST(PairFormatsDeathTest, RowsOfTwoBlocksInOnePassAreRefused) {
  Rng rng(2);
  const HeadShape s{.heads = 2, .kv_heads = 1, .head_dim = 8};
  const Sequence seq(rng, s, 65);
  PairedKv kv(s, 64, 2, rng);
  ThreadPool pool(1);
  const BlockId blocks[] = {0, 1};
  const AttendSegment segment{0, 65, 0, blocks};
  std::vector<float> out(seq.q.size());
  EXPECT_DEATH(Ops(kRefOps, pool).attend({seq.q.data(), out.data(), s.heads, s.scale(), 0, kv.views[0], {&segment, 1}}), "has not sealed");
}

}  // namespace
}  // namespace sluice
