// Attention against float64, and its bits over tables, threads, batches, chunks and block sizes.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "backend/attend_plan.h"
#include "tests/support/paged_kv.h"

namespace sluice {
namespace {

using namespace test;

/// Runs the pieces as one batch; returns their output rows, concatenated.
std::vector<float> attend(const Ops& ops, const HeadShape& s, const std::vector<Sequence>& sequences,
                          const std::vector<Piece>& pieces, const KvFormat& format, int block_tokens, uint64_t seed = 1) {
  Rng rng(seed);
  int blocks = 3;
  for (const Sequence& seq : sequences) blocks += (seq.length + block_tokens - 1) / block_tokens;
  PagedKv kv(s, format, block_tokens, blocks, rng);
  std::vector<std::vector<BlockId>> block_tables;
  for (const Sequence& seq : sequences) block_tables.push_back(kv.store(ops, seq));
  std::vector<float> q;
  std::vector<AttendSegment> segments;
  const size_t row = static_cast<size_t>(s.heads) * static_cast<size_t>(s.head_dim);
  for (const Piece& p : pieces) {
    auto& table = block_tables[static_cast<size_t>(p.sequence)];
    segments.push_back({static_cast<int>(q.size() / row), p.rows, p.first_pos, table.data()});
    const auto& from = sequences[static_cast<size_t>(p.sequence)].q;
    q.insert(q.end(), from.begin() + static_cast<int64_t>(p.first_pos * row),
             from.begin() + static_cast<int64_t>((p.first_pos + p.rows) * row));
  }
  std::vector<float> out(q.size(), NAN);
  ops.attend({q.data(), out.data(), s.heads, s.scale(), s.window, kv.view, segments});
  return out;
}

std::vector<double> naive(const HeadShape& s, const Sequence& seq, int pos) {
  std::vector<double> out(static_cast<size_t>(s.heads * s.head_dim));
  const int first = s.window > 0 ? std::max(0, pos - s.window + 1) : 0;
  for (int h = 0; h < s.heads; ++h) {
    const int kv_head = h / (s.heads / s.kv_heads);
    const auto at = [&](int t, int d) { return static_cast<size_t>((t * s.kv_heads + kv_head) * s.head_dim + d); };
    std::vector<double> p;
    double top = -INFINITY, sum = 0;
    for (int t = first; t <= pos; ++t) {
      double score = 0;
      for (int d = 0; d < s.head_dim; ++d)
        score += static_cast<double>(seq.q[static_cast<size_t>((pos * s.heads + h) * s.head_dim + d)]) *
                 static_cast<double>(seq.k[at(t, d)]);
      p.push_back(score * static_cast<double>(s.scale()));
      top = std::max(top, p.back());
    }
    for (double& x : p) sum += x = std::exp(x - top);
    for (int t = first; t <= pos; ++t)
      for (int d = 0; d < s.head_dim; ++d)
        out[static_cast<size_t>(h * s.head_dim + d)] +=
            p[static_cast<size_t>(t - first)] / sum * static_cast<double>(seq.v[at(t, d)]);
  }
  return out;
}

/// By how much attending in integers (row_ops.h) may move what head h of a row gives. A query's values are off by at most half
/// of max |q| / query_steps(), so a score by at most d = scale * that * the most that the magnitudes of a key sum to, a weight by a
/// factor between exp(-2 d) and exp(2 d). A weight is off by at most half of the largest / weight_steps() besides.
double integer_error(const HeadShape& s, const Sequence& seq, int pos, int h, KvType type) {
  const auto dim = static_cast<size_t>(s.head_dim);
  const size_t q = (static_cast<size_t>(pos) * static_cast<size_t>(s.heads) + static_cast<size_t>(h)) * dim;
  const size_t first = s.window > 0 ? static_cast<size_t>(std::max(0, pos - s.window + 1)) : 0, last = static_cast<size_t>(pos);
  double largest_q = 0, most_k = 0, largest_v = 0, top = -INFINITY, sum = 0;
  std::vector<double> scores;
  for (size_t d = 0; d < dim; ++d) largest_q = std::max(largest_q, std::abs(static_cast<double>(seq.q[q + d])));
  for (size_t t = first; t <= last; ++t) {
    const size_t at = (t * static_cast<size_t>(s.kv_heads) + static_cast<size_t>(h / (s.heads / s.kv_heads))) * dim;
    double size = 0, score = 0;
    for (size_t d = 0; d < dim; ++d) {
      size += std::abs(static_cast<double>(seq.k[at + d]));
      score += static_cast<double>(seq.q[q + d]) * static_cast<double>(seq.k[at + d]);
      largest_v = std::max(largest_v, std::abs(static_cast<double>(seq.v[at + d])));
    }
    most_k = std::max(most_k, size);
    scores.push_back(score * static_cast<double>(s.scale()));
    top = std::max(top, scores.back());
  }
  for (const double score : scores) sum += std::exp(score - top);
  const double moved = static_cast<double>(s.scale()) * most_k * largest_q / (2.0 * query_steps(type));
  return largest_v * (std::expm1(2 * moved) + static_cast<double>(scores.size()) / sum / (2.0 * weight_steps(type)));
}

TEST(Attend, EqualsFloat64OnRandomShapes) {
  Rng rng(7);
  ThreadPool pool(2);
  const auto all = tables();
  for (int trial = 0; trial < 45; ++trial) {
    const HeadShape s = random_shape(rng);
    const OpTable& table = *all[static_cast<size_t>(trial) % all.size()];
    const Ops ops(table, pool);
    const KvFormat& format = random_row_format(rng);
    const int block_tokens = kBlockTokens[rng.below(std::size(kBlockTokens))];
    std::vector<Sequence> sequences;
    std::vector<Piece> pieces;
    const int n = static_cast<int>(rng.between(1, 3));
    for (int i = 0; i < n; ++i) {
      const int length = static_cast<int>(rng.below(4) == 0 ? rng.between(600, 1500) : rng.between(1, 300));
      sequences.emplace_back(rng, s, length);
      const int rows = static_cast<int>(rng.below(2) == 0 ? 1 : rng.between(1, std::min(length, 10)));
      pieces.push_back({i, length - rows, rows});
    }
    const auto out = attend(ops, s, sequences, pieces, format, block_tokens);
    size_t at = 0;
    for (const Piece& p : pieces) {
      const Sequence kept = stored(sequences[static_cast<size_t>(p.sequence)], s, format);
      for (int r = 0; r < p.rows; ++r) {
        const auto wanted = naive(s, kept, p.first_pos + r);
        for (size_t i = 0; i < wanted.size(); ++i) {
          const double want = wanted[i];
          const double rounding = integer_rows(format.type) ? integer_error(s, kept, p.first_pos + r, static_cast<int>(i) / s.head_dim, format.type) : 0;
          ASSERT_NEAR(out[at], want, 4e-6 * (1 + std::abs(want)) + rounding)
              << table.isa << " " << format.name << " trial " << trial << " dim " << s.head_dim << " heads " << s.heads << "/" << s.kv_heads
              << " window " << s.window << " block " << block_tokens << " pos " << p.first_pos + r;
          ++at;
        }
      }
    }
  }
}

// What rounding keys and values may cost: with |k - k'| <= e_k and |v - v'| <= e_v per value, scores move by at most
// d = scale * |q|_1 * e_k, so weights by factors between exp(-2 d) and exp(2 d), and an output by at most
// (exp(2 d) - 1) * max |v| + e_v.
TEST(Attend, Int8StaysWithinItsRoundingOfExactKv) {
  Rng rng(8);
  ThreadPool pool(2);
  double worst = 0, most = 0;
  for (int trial = 0; trial < 20; ++trial) {
    const HeadShape s = random_shape(rng);
    const int length = static_cast<int>(rng.between(1, 400));
    const std::vector<Sequence> sequences{Sequence(rng, s, length)};
    const auto largest = [](std::span<const float> x) {
      float top = 0;
      for (const float v : x) top = std::max(top, std::fabs(v));
      return static_cast<double>(top);
    };
    const double half_step = 0.5 / 127 * 1.0001, e_k = largest(sequences[0].k) * half_step, max_v = largest(sequences[0].v);
    const int rows = static_cast<int>(rng.between(1, std::min(length, 5)));
    const OpTable* table = tables()[static_cast<size_t>(trial) % tables().size()];
    const auto out = attend(Ops(*table, pool), s, sequences, {{0, length - rows, rows}}, kKvInt8, 16);
    size_t at = 0;
    for (int r = 0; r < rows; ++r) {
      const auto want = naive(s, sequences[0], length - rows + r);
      for (int h = 0; h < s.heads; ++h) {
        double norm = 0;
        const size_t q = static_cast<size_t>((length - rows + r) * s.heads + h) * static_cast<size_t>(s.head_dim);
        for (int d = 0; d < s.head_dim; ++d) norm += std::fabs(sequences[0].q[q + static_cast<size_t>(d)]);
        const double bound = std::expm1(2 * static_cast<double>(s.scale()) * norm * e_k) * max_v + max_v * half_step;
        for (int d = 0; d < s.head_dim; ++d, ++at) {
          const double error = std::abs(out[at] - want[static_cast<size_t>(h * s.head_dim + d)]);
          ASSERT_LE(error, bound + 1e-5) << table->isa << " trial " << trial;
          worst = std::max(worst, error);
          most = std::max(most, bound);
        }
      }
    }
  }
  EXPECT_GT(worst, 1e-3);  // int8 was used
  EXPECT_LT(worst, most);
}

// Where a table has no kernel of a format, the reference's serves.
TEST(Attend, AFormatWithoutAKernelIsServedByTheReference) {
  Rng rng(9);
  ThreadPool pool(2);
  const HeadShape s;
  const std::vector<Sequence> sequences{Sequence(rng, s, 70)};
  for (const KvFormat* format : kv_row_formats()) {
    RowOps without = *tables().back()->row;
    for (auto& f : without.attend_tile) f = nullptr;
    for (auto& f : without.kv_encode) f = nullptr;
    OpTable table = *tables().back();
    table.row = &without;
    EXPECT_TRUE(same_bits(attend(Ops(table, pool), s, sequences, {{0, 60, 10}}, *format, 16),
                          attend(Ops(*tables().back(), pool), s, sequences, {{0, 60, 10}}, *format, 16)))
        << format->name;
  }
}

TEST(Attend, TablesAgreeToTheBit) {
  Rng rng(11);
  ThreadPool pool(1);
  for (int trial = 0; trial < 40; ++trial) {
    const HeadShape s = random_shape(rng);
    const int length = static_cast<int>(rng.between(1, 700));
    const std::vector<Sequence> sequences{Sequence(rng, s, length, trial % 5 == 0 ? 300 : 1)};
    const int rows = static_cast<int>(rng.between(1, std::min(length, 30)));
    const std::vector<Piece> pieces{{0, length - rows, rows}};
    const KvFormat& format = random_row_format(rng);
    const auto reference = attend(Ops(kRefOps, pool), s, sequences, pieces, format, 16);
    for (const OpTable* table : tables())
      EXPECT_TRUE(same_bits(reference, attend(Ops(*table, pool), s, sequences, pieces, format, 16)))
          << table->isa << " " << format.name << " dim " << s.head_dim << " heads " << s.heads << "/" << s.kv_heads << " window " << s.window
          << " length " << length << " rows " << rows;
  }
}

TEST(Attend, BatchChunksBlocksAndThreadsChangeNoBit) {
  Rng rng(13);
  for (const OpTable* table : tables()) {
    const bool slow = table == &kRefOps;
    for (int trial = 0; trial < (slow ? 1 : 5); ++trial) {
      const HeadShape s = random_shape(rng);
      const KvFormat& format = random_row_format(rng);
      std::vector<Sequence> sequences;
      sequences.emplace_back(rng, s, static_cast<int>(slow ? rng.between(257, 400) : rng.between(500, 1500)));
      sequences.emplace_back(rng, s, static_cast<int>(rng.between(1, 300)));
      sequences.emplace_back(rng, s, static_cast<int>(rng.between(1, 40)));
      const int length = sequences[0].length, rows = static_cast<int>(rng.between(2, slow ? 40 : 200));
      ThreadPool one(1);
      const Piece whole{0, length - rows, rows};
      const auto alone = attend(Ops(*table, one), s, sequences, {whole}, format, 16);

      for (int threads : {1, 2, 3, 4}) {
        ThreadPool pool(threads);
        const Ops ops(*table, pool);
        const int block_tokens = kBlockTokens[rng.below(std::size(kBlockTokens))];
        EXPECT_TRUE(same_bits(alone, attend(ops, s, sequences, {whole}, format, block_tokens, 2)))
            << table->isa << " threads " << threads << " block " << block_tokens;

        // The same rows cut into chunks, among other sequences' rows, in one batch.
        std::vector<Piece> pieces;
        for (int done = 0; done < rows;) {
          const int chunk = static_cast<int>(rng.between(1, std::min(rows - done, 50)));
          pieces.push_back({0, length - rows + done, chunk});
          done += chunk;
        }
        const size_t mine = pieces.size();
        pieces.push_back({1, 0, sequences[1].length});
        pieces.push_back({2, sequences[2].length - 1, 1});
        auto mixed = attend(ops, s, sequences, pieces, format, block_tokens, 3);
        mixed.resize(alone.size());
        EXPECT_TRUE(same_bits(alone, mixed)) << table->isa << " threads " << threads << " in " << mine << " chunks";

        // One row at a time: the last, as decoding would compute it.
        const auto last = attend(ops, s, sequences, {{0, length - 1, 1}}, format, block_tokens, 4);
        EXPECT_TRUE(same_bits({alone.end() - static_cast<int64_t>(last.size()), alone.end()}, last)) << table->isa;
      }
    }
  }
}

// One row takes its KV heads in turn, super-tile by super-tile; many rows take one head after the other.
TEST(Attend, HeadsInTurnChangeNoBit) {
  Rng rng(29);
  HeadShape s;
  s.heads = 16, s.kv_heads = 8, s.head_dim = 64;
  const std::vector<Sequence> sequences{Sequence(rng, s, 3000)};
  for (const KvFormat* format : {&kKvF32, &kKvF16, &kKvInt8, &kKvInt4})
    for (s.window = 0; s.window <= 700; s.window += 700)
      for (const int block_tokens : {1, 16}) {
        ThreadPool two(2);
        const auto rows = attend(Ops(*tables().back(), two), s, sequences, {{0, 2960, 40}}, *format, block_tokens);
        for (const int threads : {1, 2, 3}) {
          ThreadPool pool(threads);
          const auto last = attend(Ops(*tables().back(), pool), s, sequences, {{0, 2999, 1}}, *format, block_tokens, 2);
          EXPECT_TRUE(same_bits({rows.end() - static_cast<int64_t>(last.size()), rows.end()}, last))
              << format->name << " window " << s.window << " block " << block_tokens << " threads " << threads;
        }
      }
}

TEST(Attend, LargeScoresStayFinite) {
  HeadShape s{.heads = 2, .kv_heads = 1, .head_dim = 16};
  Rng rng(17);
  ThreadPool pool(2);
  for (const OpTable* table : tables()) {
    std::vector<Sequence> sequences{Sequence(rng, s, 600, 1e4)};
    const auto out = attend(Ops(*table, pool), s, sequences, {{0, 590, 10}}, kKvF32, 16);
    for (int r = 0; r < 10; ++r) {
      const auto want = naive(s, sequences[0], 590 + r);
      for (size_t i = 0; i < want.size(); ++i)
        ASSERT_NEAR(out[static_cast<size_t>(r) * want.size() + i], want[i], 0.02);
    }
  }
}

TEST(Attend, BlocksBeforeTheWindowAreNotRead) {
  HeadShape s{.heads = 4, .kv_heads = 2, .head_dim = 20, .window = 70};
  Rng rng(19);
  ThreadPool pool(2);
  const std::vector<Sequence> sequences{Sequence(rng, s, 900)};
  for (const OpTable* table : tables()) {
    const Ops ops(*table, pool);
    PagedKv kv(s, kKvF32, 16, 60, rng);
    auto blocks = kv.store(ops, sequences[0]);
    const std::vector<AttendSegment> segments{{0, 3, 897, blocks.data()}};
    std::vector<float> with(3 * 80), without(3 * 80);
    const float* q = sequences[0].q.data() + 897 * 80;
    ops.attend({q, with.data(), s.heads, s.scale(), s.window, kv.view, segments});
    for (int b = 0; b < (897 - 69) / 16; ++b) blocks[static_cast<size_t>(b)] = kNoBlock;
    ops.attend({q, without.data(), s.heads, s.scale(), s.window, kv.view, segments});
    EXPECT_TRUE(same_bits(with, without)) << table->isa;
  }
}

TEST(AttendPlan, CoversEveryTileOnceAndSplitsOnlyWhenCoresWouldIdle) {
  Rng rng(23);
  AttendPlan plan;
  // Tables that share no block.
  std::vector<BlockId> ids(64 + 2000);
  std::iota(ids.begin(), ids.end(), BlockId{0});
  const auto own_table = [&](int64_t i) { return ids.data() + i; };
  for (int trial = 0; trial < 200; ++trial) {
    const int threads = static_cast<int>(rng.between(1, 64));
    std::vector<AttendSegment> segments;
    for (int64_t i = rng.between(1, 20), row = 0; i > 0; --i) {
      const int rows = static_cast<int>(rng.below(2) == 0 ? 1 : rng.between(1, 300));
      segments.push_back({static_cast<int>(row), rows, static_cast<int>(rng.between(0, 20000)), own_table(i)});
      row += rows;
    }
    AttendArgs args{.heads = 14,
                    .window = rng.below(2) == 0 ? 0 : 1000,
                    .kv = {.kv_heads = 2, .head_dim = 64},
                    .segments = segments};
    plan_attention(args, threads, plan);
    std::vector<int64_t> tiles(plan.blocks.size());
    for (const AttendUnit& u : plan.units) {
      EXPECT_LT(u.tile_begin, u.tile_end);
      EXPECT_TRUE(u.heads == 1 || (u.heads == 2 && plan.blocks[static_cast<size_t>(u.block)].kv_head == 0));
      for (int head = 0; head < u.heads; ++head) tiles[static_cast<size_t>(u.block + head)] += u.tile_end - u.tile_begin;
    }
    int64_t rows = 0;
    for (size_t i = 0; i < plan.blocks.size(); ++i) {
      EXPECT_EQ(tiles[i], plan.blocks[i].tile_end - plan.blocks[i].tile_begin);
      rows += plan.blocks[i].rows;
    }
    int64_t want = 0;
    for (const AttendSegment& s : segments) want += s.rows;
    EXPECT_EQ(rows, 2 * want);
    EXPECT_LE(plan.arena_floats * 4, int64_t{64} << 20);
    EXPECT_TRUE(threads > 1 || plan.last.empty());
  }
  // One row of a long sequence keeps 8 workers busy; 64 such rows need no partials.
  const std::vector<AttendSegment> one{{0, 1, 8191, own_table(0)}};
  std::vector<AttendSegment> many;
  for (int i = 0; i < 64; ++i) many.push_back({0, 1, 8191, own_table(i)});
  AttendArgs args{.heads = 14, .kv = {.kv_heads = 2, .head_dim = 64}, .segments = one};
  plan_attention(args, 8, plan);
  EXPECT_GE(plan.units.size(), 16u);
  EXPECT_EQ(plan.last.size(), 2u);
  EXPECT_EQ(plan.units[0].heads, 2);
  plan_attention(args, 16, plan);  // more workers than have a super-tile of both heads each
  EXPECT_EQ(plan.units.size(), 64u);
  args.segments = many;
  plan_attention(args, 8, plan);
  EXPECT_TRUE(plan.last.empty());
}

}  // namespace
}  // namespace sluice
