// Attention's variants (caps, biases, sinks, narrower values, both directions) against float64, and their bits over tables, threads,
// batches, chunks and block sizes.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "tests/support/paged_kv.h"

namespace sluice {
namespace {

using namespace test;

struct Variant {
  float softcap = 0;
  std::vector<float> slopes, sinks;  // by head, or empty
  int v_dim = 0;
  bool causal = true, one_row = false;  // one_row: V is K

  std::string text() const {
    return "cap " + std::to_string(softcap) + (slopes.empty() ? "" : ", slopes") + (sinks.empty() ? "" : ", sinks") + ", v_dim " +
           std::to_string(v_dim) + (causal ? "" : ", both ways") + (one_row ? ", one row" : "");
  }
};

Variant random_variant(Rng& rng, const HeadShape& s) {
  Variant v;
  const auto by_head = [&](double scale) { return normals(rng, static_cast<size_t>(s.heads), scale); };
  if (rng.below(2) == 0) v.softcap = 2;  // near enough to bend most scores
  if (rng.below(2) == 0) v.slopes = by_head(0.05);
  if (rng.below(2) == 0) v.sinks = by_head(3);
  if (rng.below(2) == 0) v.v_dim = static_cast<int>(rng.between(1, s.head_dim));
  v.causal = rng.below(3) != 0;
  v.one_row = rng.below(3) == 0;
  return v;
}

std::vector<float> attend(const Ops& ops, const HeadShape& s, const Variant& v, const std::vector<Sequence>& sequences,
                          const std::vector<Piece>& pieces, const KvFormat& format, int block_tokens, uint64_t seed = 1, bool only_windows = false) {
  Rng rng(seed);
  int blocks = 3;
  for (const Sequence& seq : sequences) blocks += (seq.length + block_tokens - 1) / block_tokens;
  PagedKv kv(s, format, block_tokens, blocks, rng);
  if (v.one_row) kv.view.v = kv.view.k;
  std::vector<std::vector<BlockId>> tables;
  for (const Sequence& seq : sequences) tables.push_back(kv.store(ops, seq));
  for (const Piece& p : pieces)  // only_windows: one of each sequence, and blocks before its window hold NaN
    for (int i = 0; only_windows && (i + 1) * block_tokens <= p.first_pos - s.window + 1; ++i) tables[static_cast<size_t>(p.sequence)][static_cast<size_t>(i)] = kv.free.back();
  std::vector<float> q;
  std::vector<AttendSegment> segments;
  const size_t row = static_cast<size_t>(s.heads) * static_cast<size_t>(s.head_dim);
  int rows = 0;
  for (const Piece& p : pieces) {
    segments.push_back({rows, p.rows, p.first_pos, tables[static_cast<size_t>(p.sequence)].data()});
    const auto from = sequences[static_cast<size_t>(p.sequence)].q.begin() + static_cast<int64_t>(static_cast<size_t>(p.first_pos) * row);
    q.insert(q.end(), from, from + static_cast<int64_t>(static_cast<size_t>(p.rows) * row));
    rows += p.rows;
  }
  AttendArgs args{q.data(), nullptr, s.heads, s.scale(), s.window, kv.view, segments, v.softcap};
  args.v_dim = v.v_dim;
  args.causal = v.causal;
  if (!v.slopes.empty()) args.slopes = v.slopes.data();
  if (!v.sinks.empty()) args.sinks = v.sinks.data();
  std::vector<float> out(static_cast<size_t>(rows) * static_cast<size_t>(s.heads) * static_cast<size_t>(args.value_dim()), NAN);
  args.out = out.data();
  ops.attend(args);
  return out;
}

/// What a row at `pos` of a sequence of `end` positions gives, from keys and values as a format keeps them.
std::vector<double> naive(const HeadShape& s, const Variant& v, const Sequence& seq, int pos, int end) {
  const int v_dim = v.v_dim > 0 ? v.v_dim : s.head_dim;
  std::vector<double> out;
  for (int h = 0; h < s.heads; ++h) {
    const auto at = [&](int t, int d) { return static_cast<size_t>((t * s.kv_heads + h / (s.heads / s.kv_heads)) * s.head_dim + d); };
    std::vector<double> weight(static_cast<size_t>(end));
    double sum = v.sinks.empty() ? 0 : std::exp(static_cast<double>(v.sinks[static_cast<size_t>(h)]));
    for (int t = 0; t < end; ++t) {
      if (v.causal ? t > pos || (s.window > 0 && t <= pos - s.window) : s.window > 0 && std::abs(t - pos) > s.window / 2) continue;
      double score = 0;
      for (int d = 0; d < s.head_dim; ++d)
        score += static_cast<double>(seq.q[static_cast<size_t>((pos * s.heads + h) * s.head_dim + d)]) * static_cast<double>(seq.k[at(t, d)]);
      score *= static_cast<double>(s.scale());
      const double cap = static_cast<double>(v.softcap);
      if (cap > 0) score = cap * std::tanh(score / cap);
      if (!v.slopes.empty()) score += static_cast<double>(v.slopes[static_cast<size_t>(h)]) * (t - pos);
      sum += weight[static_cast<size_t>(t)] = std::exp(score);  // scores of these tests are small
    }
    const std::vector<float>& values = v.one_row ? seq.k : seq.v;
    for (int d = 0; d < v_dim; ++d) {
      double o = 0;
      for (int t = 0; t < end; ++t) o += weight[static_cast<size_t>(t)] / sum * static_cast<double>(values[at(t, d)]);
      out.push_back(o);
    }
  }
  return out;
}

/// What attending in integers may be off by (attend_test.cpp bounds it; here: for these tests' sizes).
double integer_error(KvType type) { return type == KvType::int8 ? 2e-3 : type == KvType::int4 ? 0.15 : 0; }

void expect_float64(const Ops& ops, const HeadShape& s, const Variant& v, const std::vector<Sequence>& sequences,
                    const std::vector<Piece>& pieces, const KvFormat& format, int block_tokens) {
  const auto out = attend(ops, s, v, sequences, pieces, format, block_tokens);
  size_t at = 0;
  for (const Piece& p : pieces) {
    const Sequence kept = stored(sequences[static_cast<size_t>(p.sequence)], s, format);
    for (int r = 0; r < p.rows; ++r)
      for (const double want : naive(s, v, kept, p.first_pos + r, p.first_pos + p.rows)) {
        ASSERT_NEAR(static_cast<double>(out[at]), want, 6e-6 * (1 + std::abs(want)) + integer_error(format.type))
            << ops.isa() << " " << format.name << ", dim " << s.head_dim << ", window " << s.window << ", block " << block_tokens
            << ", position " << p.first_pos + r << ", " << v.text();
        ++at;
      }
  }
  ASSERT_EQ(at, out.size());
}

TEST(AttendVariants, EqualFloat64OnRandomShapes) {
  Rng rng(31);
  ThreadPool pool(2);
  const auto all = tables();
  for (int trial = 0; trial < 80; ++trial) {
    const HeadShape s = random_shape(rng);
    const Variant v = random_variant(rng, s);
    std::vector<Sequence> sequences;
    std::vector<Piece> pieces;
    for (int i = 0; i < 2; ++i) {
      const int length = static_cast<int>(rng.below(4) == 0 ? rng.between(500, 900) : rng.between(1, 300));
      sequences.emplace_back(rng, s, length);
      const int rows = static_cast<int>(rng.between(1, std::min(length, 10)));
      pieces.push_back({i, length - rows, rows});
    }
    expect_float64(Ops(*all[static_cast<size_t>(trial) % all.size()], pool), s, v, sequences, pieces, random_row_format(rng),
                   kBlockTokens[rng.below(std::size(kBlockTokens))]);
  }
}

TEST(AttendVariants, TablesAgreeToTheBit) {
  Rng rng(37);
  ThreadPool pool(1);
  for (int trial = 0; trial < 60; ++trial) {
    const HeadShape s = random_shape(rng);
    const Variant v = random_variant(rng, s);
    const int length = static_cast<int>(rng.between(1, 600)), rows = static_cast<int>(rng.between(1, std::min(length, 30)));
    const std::vector<Sequence> sequences{Sequence(rng, s, length, trial % 5 == 0 ? 300 : 1)};
    const KvFormat& format = random_row_format(rng);
    const auto reference = attend(Ops(kRefOps, pool), s, v, sequences, {{0, length - rows, rows}}, format, 16);
    for (const OpTable* table : tables())
      EXPECT_TRUE(same_bits(reference, attend(Ops(*table, pool), s, v, sequences, {{0, length - rows, rows}}, format, 16)))
          << table->isa << " " << format.name << ", dim " << s.head_dim << ", window " << s.window << ", length " << length << ", rows "
          << rows << ", " << v.text();
  }
}

TEST(AttendVariants, BatchChunksBlocksAndThreadsChangeNoBit) {
  Rng rng(41);
  for (const OpTable* table : tables())
    for (int trial = 0; trial < (table == &kRefOps ? 1 : 12); ++trial) {
      const HeadShape s = random_shape(rng);
      const Variant v = random_variant(rng, s);
      const KvFormat& format = random_row_format(rng);
      const std::vector<Sequence> sequences{Sequence(rng, s, static_cast<int>(rng.between(260, 700))), Sequence(rng, s, 30)};
      const int length = sequences[0].length, rows = static_cast<int>(rng.between(2, 60));
      ThreadPool one(1);
      const auto alone = attend(Ops(*table, one), s, v, sequences, {{0, length - rows, rows}}, format, 16);
      for (int threads : {2, 3}) {
        ThreadPool pool(threads);
        std::vector<Piece> pieces;  // encoders' segments are not cut
        for (int done = 0, chunk; done < rows; done += chunk) {
          chunk = v.causal ? static_cast<int>(rng.between(1, std::min(rows - done, 20))) : rows;
          pieces.push_back({0, length - rows + done, chunk});
        }
        pieces.push_back({1, 0, 30});
        auto mixed = attend(Ops(*table, pool), s, v, sequences, pieces, format, kBlockTokens[rng.below(std::size(kBlockTokens))], 3);
        mixed.resize(alone.size());
        EXPECT_TRUE(same_bits(alone, mixed)) << table->isa << " " << format.name << ", " << threads << " threads, " << v.text();
      }
    }
}

// Blocks that hold nothing of a row's window may hold anything (kv/recent_pages.h).
TEST(AttendVariants, NothingBeforeAWindowIsRead) {
  Rng rng(61);
  ThreadPool pool(2);
  for (const OpTable* table : tables())
    for (int trial = 0; trial < (table == &kRefOps ? 8 : 40); ++trial) {
      HeadShape s = random_shape(rng);
      s.window = static_cast<int>(rng.between(1, 300));
      Variant v = random_variant(rng, s);
      v.causal = true;
      const KvFormat& format = random_row_format(rng);
      const int block_tokens = kBlockTokens[rng.below(std::size(kBlockTokens))], length = static_cast<int>(rng.between(200, 900)), rows = static_cast<int>(rng.between(1, 20));
      const std::vector<Sequence> sequences{Sequence(rng, s, length)};
      const std::vector<Piece> pieces{{0, length - rows, rows}};
      const Ops ops(*table, pool);
      EXPECT_TRUE(same_bits(attend(ops, s, v, sequences, pieces, format, block_tokens), attend(ops, s, v, sequences, pieces, format, block_tokens, 1, true)))
          << table->isa << " " << format.name << ", window " << s.window << ", length " << length << ", rows " << rows << ", block " << block_tokens << ", " << v.text();
    }
}

// Samples of one prompt, which read it together where nothing forbids it.
TEST(AttendVariants, ASharedPrefixChangesNoBit) {
  Rng rng(43);
  ThreadPool pool(2);
  for (const OpTable* table : tables())
    for (int trial = 0; trial < 4; ++trial) {
      HeadShape s{.heads = 4, .kv_heads = 2, .head_dim = 24};
      Variant v = random_variant(rng, s);
      v.causal = true;
      if (trial == 0) v.slopes = {0.1f, 0.2f, -0.1f, 0.0f};
      const std::vector<Sequence> sequences{Sequence(rng, s, 530)};
      const std::vector<Piece> pieces{{0, 529, 1}, {0, 520, 2}, {0, 525, 1}};
      const auto together = attend(Ops(*table, pool), s, v, sequences, pieces, kKvF16, 16);
      std::vector<float> apart;
      for (const Piece& p : pieces) {
        const auto rows = attend(Ops(*table, pool), s, v, sequences, {p}, kKvF16, 16);
        apart.insert(apart.end(), rows.begin(), rows.end());
      }
      EXPECT_TRUE(same_bits(together, apart)) << table->isa << ", " << v.text();
    }
}

// Multi-head latent attention, absorbed: one row of 512 + 64 dims for all heads, whose first 512 are the values.
TEST(AttendVariants, LatentRows) {
  Rng rng(47);
  ThreadPool pool(2);
  const HeadShape s{.heads = 20, .kv_heads = 1, .head_dim = 576};
  const Variant latent{.v_dim = 512, .one_row = true};
  const std::vector<Sequence> sequences{Sequence(rng, s, 300)};
  Sequence copied = sequences[0];
  copied.v = copied.k;
  for (const KvFormat* format : {&kKvF16, &kKvInt8, &kKvF32, &kKvInt4}) {
    const std::vector<Piece> pieces{{0, 270, 3}, {0, 299, 1}};
    const auto want = attend(Ops(kRefOps, pool), s, latent, sequences, pieces, *format, 16);
    for (const OpTable* table : tables()) {
      const Ops ops(*table, pool);
      EXPECT_TRUE(same_bits(want, attend(ops, s, latent, sequences, pieces, *format, 16))) << table->isa << " " << format->name;
      // The same rows kept twice.
      EXPECT_TRUE(same_bits(want, attend(ops, s, {.v_dim = 512}, {copied}, pieces, *format, 16))) << table->isa << " " << format->name;
    }
    expect_float64(Ops(*tables().back(), pool), s, latent, sequences, {{0, 298, 2}}, *format, 16);
  }
}

TEST(AttendVariants, OneRowIsWrittenOnce) {
  Rng rng(53);
  ThreadPool pool(1);
  const HeadShape s{.heads = 2, .kv_heads = 1, .head_dim = 40};
  const Sequence seq(rng, s, 20);
  for (const OpTable* table : tables()) {
    Rng same(1), again(1);
    PagedKv two(s, kKvInt8, 16, 4, same), one(s, kKvInt8, 16, 4, again);
    one.view.v = one.view.k;
    two.store(Ops(*table, pool), seq);
    one.store(Ops(*table, pool), seq);
    EXPECT_EQ(one.k, two.k) << table->isa;
  }
}

// A sink that weighs nothing changes no bit; one that weighs everything leaves nothing of the values.
TEST(AttendVariants, SinksAtTheirEnds) {
  Rng rng(59);
  ThreadPool pool(1);
  const HeadShape s{.heads = 2, .kv_heads = 2, .head_dim = 24, .window = 40};
  const std::vector<Sequence> sequences{Sequence(rng, s, 300)};
  for (const OpTable* table : tables()) {
    const Ops ops(*table, pool);
    const auto with = [&](float sink) {
      return attend(ops, s, {.sinks = {sink, sink}}, sequences, {{0, 290, 10}}, kKvF16, 16);
    };
    EXPECT_TRUE(same_bits(with(-1e30f), attend(ops, s, {}, sequences, {{0, 290, 10}}, kKvF16, 16))) << table->isa;
    for (const float x : with(200)) ASSERT_LT(std::abs(x), 1e-30f);
  }
}

TEST(AttendVariants, RefuseWhatTheyCannotDo) {
  ThreadPool pool(1);
  std::vector<float> memory(4096), q(64), out(64);
  auto* bytes = reinterpret_cast<uint8_t*>(memory.data());
  const BlockId block = 0;
  const AttendSegment segment{0, 1, 0, &block};
  const Ops ops(kRefOps, pool);
  AttendArgs args{q.data(), out.data(), 1, 1.0f, 0, {&kKvF32, 16, 1, 16, bytes, bytes + 2048}, {&segment, 1}};
  args.v_dim = 17;
  EXPECT_DEATH(ops.attend(args), "17 dims in rows of 16");
  args.v_dim = 16;
  args.kv.format = &kKvKivi2;
  args.causal = false;
  EXPECT_DEATH(ops.attend(args), "keys apart from values");
}

}  // namespace
}  // namespace sluice
