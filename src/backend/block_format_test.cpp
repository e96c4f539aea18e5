// Formats that encode whole blocks, in attention: against the codec and float64, and its bits over tables, threads, batches,
// chunks and the moment at which a row is computed.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "backend/kv_blocks.h"
#include "backend/key_rotation.h"
#include "tests/support/paged_kv.h"

namespace sluice {
namespace {

using namespace test;

std::vector<const KvFormat*> block_formats() {
  std::vector<const KvFormat*> found;
  for (const KvFormat* f : kv_formats())
    if (f->block != nullptr) found.push_back(f);
  return found;
}

HeadShape small_shape(Rng& rng) {
  HeadShape s = random_shape(rng);
  if (s.head_dim == 1) s.head_dim = 64;
  return s;
}

/// A sequence that is fed in chunks, as an engine would: each chunk's rows are written, then attend. Returns all rows' outputs.
std::vector<float> fed(const Ops& ops, const HeadShape& s, const Sequence& seq, const KvFormat& format, int block_tokens,
                       const std::vector<int>& chunks) {
  Rng rng(5);
  PagedKv kv(s, format, block_tokens, seq.length / block_tokens + 3, rng);
  std::vector<BlockId> blocks(kv.free.begin(), kv.free.begin() + seq.length / block_tokens + 1);
  const int q_row = s.heads * s.head_dim, kv_row = s.kv_heads * s.head_dim;
  std::vector<float> out(seq.q.size(), NAN);
  for (int at = 0, i = 0; at < seq.length; ++i) {
    const int n = std::min(chunks[static_cast<size_t>(i) % chunks.size()], seq.length - at);
    std::vector<int64_t> slots;
    for (int pos = at; pos < at + n; ++pos)
      slots.push_back(int64_t{blocks[static_cast<size_t>(pos / block_tokens)]} * block_tokens + pos % block_tokens);
    ops.write_kv(seq.k.data() + int64_t{at} * kv_row, seq.v.data() + int64_t{at} * kv_row, slots, kv.view);
    const AttendSegment segment{0, n, at, blocks.data()};
    ops.attend({seq.q.data() + int64_t{at} * q_row, out.data() + int64_t{at} * q_row, s.heads, s.scale(), s.window, kv.view, {&segment, 1}});
    at += n;
  }
  return out;
}

/// The keys or values that a row at `pos` reads: whole blocks before its own decoded, the rest as float16.
std::vector<float> read_at(const HeadShape& s, const std::vector<float>& x, KvPart part, int pos, const KvFormat& format, int block_tokens) {
  const auto dim = static_cast<size_t>(s.head_dim), heads = static_cast<size_t>(s.kv_heads), tokens = static_cast<size_t>(block_tokens);
  std::vector<float> half = x;
  for (float& v : half) {
    uint8_t bits[2];
    kKvF16.encode(&v, 1, bits, nullptr);
    kKvF16.decode(bits, nullptr, 1, &v);
  }
  std::vector<float> y = half, tile(tokens * dim), back(tokens * dim);
  std::vector<uint8_t> bytes(format.tile_bytes(block_tokens, s.head_dim));
  for (size_t block = 0; block < static_cast<size_t>(pos / block_tokens); ++block)
    for (size_t h = 0; h < heads; ++h) {
      const auto at = [&](size_t t) { return ((block * tokens + t) * heads + h) * dim; };
      for (size_t t = 0; t < tokens; ++t) std::copy_n(half.data() + at(t), dim, tile.data() + t * dim);
      format.block->encode(part, tile.data(), block_tokens, s.head_dim, bytes.data());
      format.block->decode(part, bytes.data(), block_tokens, s.head_dim, 0, block_tokens, back.data());
      for (size_t t = 0; t < tokens; ++t) std::copy_n(back.data() + t * dim, dim, y.data() + at(t));
    }
  return y;
}

TEST(BlockFormats, ARowReadsWholeBlocksBeforeItsOwnSealedAndItsOwnInFull) {
  Rng rng(1);
  ThreadPool pool(2);
  for (const KvFormat* format : block_formats())
    for (int trial = 0; trial < 4; ++trial) {
      const HeadShape s = small_shape(rng);
      const int block_tokens = format->group_tokens() * static_cast<int>(rng.between(1, 4));
      const Sequence seq(rng, s, static_cast<int>(rng.between(200, 400)));
      const OpTable* table = tables()[static_cast<size_t>(trial) % tables().size()];
      const auto out = fed(Ops(*table, pool), s, seq, *format, block_tokens, {70, 1});
      for (const int pos : {0, block_tokens - 1, block_tokens, seq.length - 1}) {
        const auto k = read_at(s, seq.k, KvPart::keys, pos, *format, block_tokens), v = read_at(s, seq.v, KvPart::values, pos, *format, block_tokens);
        for (int h = 0; h < s.heads; ++h) {
          const int kv_head = h / (s.heads / s.kv_heads), first = s.window > 0 ? std::max(0, pos - s.window + 1) : 0;
          const auto at = [&](int t, int d) { return static_cast<size_t>((t * s.kv_heads + kv_head) * s.head_dim + d); };
          std::vector<double> p;
          double top = -INFINITY, sum = 0;
          for (int t = first; t <= pos; ++t) {
            double score = 0;
            for (int d = 0; d < s.head_dim; ++d)
              score += static_cast<double>(seq.q[static_cast<size_t>((pos * s.heads + h) * s.head_dim + d)]) * static_cast<double>(k[at(t, d)]);
            p.push_back(score * static_cast<double>(s.scale()));
            top = std::max(top, p.back());
          }
          for (double& w : p) sum += w = std::exp(w - top);
          for (int d = 0; d < s.head_dim; ++d) {
            double want = 0;
            for (int t = first; t <= pos; ++t) want += p[static_cast<size_t>(t - first)] / sum * static_cast<double>(v[at(t, d)]);
            ASSERT_NEAR(out[static_cast<size_t>((pos * s.heads + h) * s.head_dim + d)], want, 1e-5 * (1 + std::abs(want)))
                << format->name << " " << table->isa << " block " << block_tokens << " pos " << pos << " dim " << s.head_dim;
          }
        }
      }
    }
}

TEST(BlockFormats, ChunksThreadsAndTablesChangeNoBit) {
  Rng rng(2);
  for (const KvFormat* format : block_formats())
    for (int trial = 0; trial < 4; ++trial) {
      const HeadShape s = small_shape(rng);
      const int block_tokens = format->group_tokens() * static_cast<int>(rng.between(1, 4));
      const Sequence seq(rng, s, static_cast<int>(rng.between(260, 420)));
      ThreadPool one(1), three(3);
      const auto whole = fed(Ops(kRefOps, one), s, seq, *format, block_tokens, {seq.length});
      for (const OpTable* table : tables()) {
        SCOPED_TRACE(std::string(format->name) + " " + std::string(table->isa) + " dim " + std::to_string(s.head_dim) + " block " + std::to_string(block_tokens));
        EXPECT_TRUE(same_bits(whole, fed(Ops(*table, three), s, seq, *format, block_tokens, {seq.length})));
        EXPECT_TRUE(same_bits(whole, fed(Ops(*table, three), s, seq, *format, block_tokens, {1, 33, 90, 7})));
        if (table != &kRefOps) {
          EXPECT_TRUE(same_bits(whole, fed(Ops(*table, one), s, seq, *format, block_tokens, {1})));
        }
      }
    }
}

// Rows of sequences that share a prefix read it together.
TEST(BlockFormats, SharedPrefixesChangeNoBit) {
  Rng rng(4);
  const HeadShape s{.heads = 6, .kv_heads = 2, .head_dim = 40};
  ThreadPool pool(2);
  for (const KvFormat* format : block_formats())
    for (const OpTable* table : tables()) {
      const Ops ops(*table, pool);
      const int block_tokens = format->fitting_block(64), length = 600, row = s.heads * s.head_dim;
      const Sequence seq(rng, s, length);
      PagedKv kv(s, *format, block_tokens, 12, rng);
      const std::vector<BlockId> blocks = kv.store(ops, seq);
      const float* q = seq.q.data() + int64_t{length - 4} * row;
      std::vector<float> alone(static_cast<size_t>(4 * row)), together(alone.size());
      for (int r = 0; r < 4; ++r) {
        const AttendSegment segment{0, 1, length - 4 + r, blocks.data()};
        ops.attend({q + r * row, alone.data() + r * row, s.heads, s.scale(), 0, kv.view, {&segment, 1}});
      }
      std::vector<AttendSegment> segments;
      for (int r = 0; r < 4; ++r) segments.push_back({r, 1, length - 4 + r, blocks.data()});
      ops.attend({q, together.data(), s.heads, s.scale(), 0, kv.view, segments});
      EXPECT_TRUE(same_bits(alone, together)) << format->name << " " << table->isa;
    }
}

// Keys that lie close together before their rotation, as models' do: a sealed block gives back what the codec makes of them
// there, rotated again, at any positions, with the same bits in all tables; and without the rotation it loses more.
TEST(BlockFormats, KeysAreTurnedBackBeforeTheyAreEncoded) {
  Rng rng(6);
  ThreadPool pool(2);
  for (const KvFormat* format : block_formats())
    for (const RopeStyle style : {RopeStyle::half, RopeStyle::interleaved}) {
      const HeadShape s{.heads = 2, .kv_heads = 2, .head_dim = 40};
      const int block_tokens = format->fitting_block(64), first = 3 * block_tokens, length = first + block_tokens;
      Sequence seq(rng, s, length);
      const std::vector<float> centre = normals(rng, 40, 8);
      for (size_t i = 0; i < seq.k.size(); ++i) seq.k[i] += centre[i % 40];
      std::vector<float> inv_freq;
      for (int i = 0; i < 20; ++i) inv_freq.push_back(std::pow(100.0f, -static_cast<float>(i) / 20));
      std::vector<int32_t> positions(static_cast<size_t>(length));
      std::iota(positions.begin(), positions.end(), 0);
      Ops(kRefOps, pool).rope(seq.k.data(), positions, inv_freq, 1, s.kv_heads, s.head_dim, s.head_dim, style);
      const KeyRotation rotation(inv_freq, style, block_tokens);
      const auto read = [&](const OpTable& table, const KeyRotation* r, int lo, int hi) {
        Rng blocks_rng(7);
        PagedKv kv(s, *format, block_tokens, 8, blocks_rng);
        kv.view.rotation = r;
        const std::vector<BlockId> blocks = kv.store(Ops(table, pool), seq);
        std::vector<float> x(static_cast<size_t>((hi - lo) * s.head_dim));
        KvUnpack(kv.view, *table.row).read(KvPart::keys, 1, blocks.data(), lo, hi, hi, x.data());
        return x;
      };
      // By the codec alone: head 1, rounded to float16, and turned with the reference's arithmetic.
      std::vector<float> rows, want(static_cast<size_t>(block_tokens * 40));
      for (int t = first; t < length; ++t)
        for (int d = 0; d < 40; ++d) rows.push_back(f16_to_f32(f32_to_f16(seq.k[static_cast<size_t>((t * 2 + 1) * 40 + d)])));
      std::vector<uint8_t> tile(format->tile_bytes(block_tokens, 40));
      const std::vector<float> exact = rows;
      const bool turns = format->block->unrotated_keys;
      if (turns) rotation.turn(KeyRotation::Way::back, kRefRowOps, rows.data(), 40, 0, block_tokens);
      format->block->encode(KvPart::keys, rows.data(), block_tokens, 40, tile.data());
      format->block->decode(KvPart::keys, tile.data(), block_tokens, 40, 0, block_tokens, want.data());
      if (turns) rotation.turn(KeyRotation::Way::forth, kRefRowOps, want.data(), 40, 0, block_tokens);
      for (const OpTable* table : tables()) {
        SCOPED_TRACE(std::string(format->name) + " " + std::string(table->isa));
        EXPECT_TRUE(same_bits(want, read(*table, &rotation, first, length)));
        EXPECT_TRUE(same_bits({want.begin() + 17 * 40, want.begin() + 30 * 40}, read(*table, &rotation, first + 17, first + 30)));
      }
      const auto error = [&](const std::vector<float>& x) {
        double sum = 0;
        for (size_t i = 0; i < x.size(); ++i) sum += std::pow(static_cast<double>(x[i] - exact[i]), 2);
        return std::sqrt(sum / static_cast<double>(x.size()));
      };
      const double with = error(want), without = error(read(kRefOps, nullptr, first, length));
      if (turns) EXPECT_LT(with, 0.5 * without) << format->name;
      else EXPECT_EQ(with, without) << format->name;
    }
}

}  // namespace
}  // namespace sluice
