// Shared prefixes are found where they are, read together, and change no bit.

#include "backend/shared_prefix.h"

#include <gtest/gtest.h>

#include <span>

#include "backend/attend_plan.h"
#include "backend/op_meter.h"
#include "tests/support/paged_kv.h"

namespace sluice {
namespace {

using namespace test;

/// Sequences of which those of a family begin alike: as long as they do, their keys and values are the same and stand
/// in the same blocks. Run as one batch, each must get the bits that it gets alone.
struct Families {
  std::vector<Sequence> sequences;
  std::vector<int> shared;  // blocks shared with the family's first
  std::vector<int> first;   // the family's first sequence
};

Families random_families(Rng& rng, const HeadShape& s, int block_tokens, int longest) {
  Families f;
  for (int family = static_cast<int>(rng.between(1, 2)); family > 0; --family) {
    const int first = static_cast<int>(f.sequences.size());
    const int members = static_cast<int>(rng.between(2, 9));
    for (int i = 0; i < members; ++i) {
      // Near the edges of super-tiles as often as anywhere.
      int length = static_cast<int>(rng.between(rng.below(4) == 0 ? 1 : longest * 2 / 3, longest));
      if (rng.below(2) == 0)
        length = static_cast<int>(std::max<int64_t>(1, (length + 128) / 256 * 256 + rng.between(-1, 1)));
      Sequence seq(rng, s, length);
      int blocks = 0;
      if (i > 0) {
        const Sequence& leader = f.sequences[static_cast<size_t>(first)];
        const int most = std::min(length - 1, leader.length) / block_tokens;
        blocks = rng.below(3) == 0 ? static_cast<int>(rng.between(0, most)) : most;
        const auto values = static_cast<int64_t>(blocks * block_tokens * s.kv_heads * s.head_dim);
        std::copy_n(leader.k.begin(), values, seq.k.begin());
        std::copy_n(leader.v.begin(), values, seq.v.begin());
      }
      f.sequences.push_back(std::move(seq));
      f.shared.push_back(blocks);
      f.first.push_back(first);
    }
  }
  return f;
}

TEST(Attend, SharedPrefixesChangeNoBit) {
  Rng rng(29);
  int trials = 0, groups = 0, of_several_rows = 0;
  for (const OpTable* table : tables()) {
    const bool slow = table == &kRefOps;
    for (int trial = 0; trial < (slow ? 2 : 20); ++trial, ++trials) {
      HeadShape s = random_shape(rng);
      if (slow) s.head_dim = std::min(s.head_dim, 24);
      if (s.window > 0 && trial % 2 == 0) s.window = 1000;
      const KvFormat& format = random_row_format(rng);
      const int block_tokens = kBlockTokens[rng.below(std::size(kBlockTokens))];
      const Families f = random_families(rng, s, block_tokens, slow ? 700 : 1600);
      PagedKv kv(
          s, format, block_tokens,
          [&] {
            int blocks = 1;
            for (const Sequence& seq : f.sequences) blocks += seq.length / block_tokens + 1;
            return blocks;
          }(),
          rng);
      ThreadPool one(1);
      std::vector<std::vector<BlockId>> block_tables;
      for (size_t i = 0; i < f.sequences.size(); ++i) {
        block_tables.push_back(
            kv.store(Ops(*table, one), f.sequences[i]));  // also where they are shared: the copies are not read
        std::copy_n(block_tables[static_cast<size_t>(f.first[i])].begin(), f.shared[i], block_tables[i].begin());
      }
      // The last rows of each, in random order; what they get alone.
      std::vector<float> q, alone, together;
      std::vector<AttendSegment> segments;
      const size_t row = static_cast<size_t>(s.heads * s.head_dim);
      std::vector<size_t> order(f.sequences.size());
      std::iota(order.begin(), order.end(), size_t{0});
      for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[rng.below(i)]);
      for (const size_t i : order) {
        const Sequence& seq = f.sequences[i];
        const int rows = rng.below(3) > 0 ? 1 : static_cast<int>(rng.between(1, std::min(seq.length, 8)));
        segments.push_back({static_cast<int>(q.size() / row), rows, seq.length - rows, block_tables[i].data()});
        q.insert(q.end(), seq.q.end() - static_cast<int64_t>(row) * rows, seq.q.end());
      }
      alone.resize(q.size());
      for (const AttendSegment& segment : segments)
        Ops(*table, one).attend({q.data(), alone.data(), s.heads, s.scale(), s.window, kv.view, {&segment, 1}});
      AttendPlan plan;
      plan_attention({q.data(), nullptr, s.heads, s.scale(), s.window, kv.view, segments}, 2, plan);
      groups += static_cast<int>(plan.shared.groups.size());
      for (const AttendBlock& b : plan.blocks) of_several_rows += b.prefix >= 0 && b.rows > 1;
      for (int threads : {1, 2, 5}) {
        ThreadPool pool(threads);
        together.assign(q.size(), NAN);
        Ops(*table, pool).attend({q.data(), together.data(), s.heads, s.scale(), s.window, kv.view, segments});
        ASSERT_TRUE(same_bits(alone, together)) << table->isa << " " << format.name << " trial " << trial << " threads "
                                                << threads << " block " << block_tokens << " heads " << s.heads << "/"
                                                << s.kv_heads << " dim " << s.head_dim << " window " << s.window;
      }
    }
  }
  EXPECT_GT(groups, trials / 3);
  EXPECT_GT(of_several_rows, trials / 3);
}

TEST(AttendPlan, ASharedPrefixIsReadOnceByAllWhoShareIt) {
  // 16 rows over 2,048 shared positions and 100 of their own: 7 query heads per KV head, 112 query vectors a block.
  std::vector<BlockId> shared(128), ids;
  std::iota(shared.begin(), shared.end(), BlockId{1000});
  std::vector<std::vector<BlockId>> block_tables(16, shared);
  std::vector<AttendSegment> segments;
  for (int i = 0; i < 16; ++i) {
    for (int b = 0; b < 7; ++b) block_tables[static_cast<size_t>(i)].push_back(static_cast<BlockId>(i * 10 + b));
    segments.push_back({i, 1, 2147, block_tables[static_cast<size_t>(i)].data()});
  }
  AttendArgs args{.heads = 14, .kv = {.kv_heads = 2, .head_dim = 64}, .segments = segments};
  AttendPlan plan;
  plan_attention(args, 2, plan);
  ASSERT_EQ(plan.blocks.size(), 2u + 2 * 16);
  for (int head = 0; head < 2; ++head) {
    EXPECT_EQ(plan.blocks[static_cast<size_t>(head)].rows, 16);
    EXPECT_EQ(plan.blocks[static_cast<size_t>(head)].tile_end, 8);
  }
  for (size_t i = 2; i < plan.blocks.size(); ++i) {
    EXPECT_EQ(plan.blocks[i].tile_begin, 8);
    EXPECT_EQ(plan.blocks[i].tile_end, 9);
    EXPECT_EQ(plan.blocks[i].prefix, plan.blocks[i].kv_head);
  }
  const double token = 2 * 2 * 64 * 4;
  EXPECT_EQ(attend_work(args).bytes, (2048 + 16 * 100) * token);
  args.window = 2147;  // the rows do not see position 0
  EXPECT_EQ(attend_work(args).bytes, 16 * 2147 * token);
  args.window = 0;
  // 40 query heads over one KV head: at most 256 query vectors a block.
  args.heads = 40;
  args.kv.kv_heads = 1;
  plan_attention(args, 2, plan);
  std::vector<int> rows;
  for (const AttendBlock& b : plan.blocks)
    if (b.batch_rows >= 0) rows.push_back(b.rows);
  EXPECT_EQ(rows, (std::vector<int>{6, 6, 4}));
  // What not all of a group's rows see whole is read by each.
  args.segments = std::span(segments).first(2);
  segments[0].first_pos = 254;
  plan_attention(args, 2, plan);
  EXPECT_TRUE(plan.shared.groups.empty());
  segments[0].first_pos = 255;
  plan_attention(args, 2, plan);
  ASSERT_EQ(plan.shared.groups.size(), 1u);
  EXPECT_EQ(plan.shared.groups[0].tiles, 1);
}

// Against brute force: the members of a group hold the same blocks, and see all of what they share, which could not be
// a tile longer; and of those that share the first tile at most one is in no group.
TEST(SharedPrefixes, GroupsHoldTheSameBlocks) {
  Rng rng(31);
  for (int trial = 0; trial < 300; ++trial) {
    const int block_tokens = kBlockTokens[rng.below(std::size(kBlockTokens))];
    std::vector<std::vector<BlockId>> block_tables;
    std::vector<AttendSegment> segments;
    const int blocks = 2048 / block_tokens + 1;
    for (int i = 0; i < 12; ++i) {
      std::vector<BlockId> table(static_cast<size_t>(blocks));
      for (BlockId& id : table) id = static_cast<BlockId>(rng.below(1 << 30));
      if (i > 0) {
        const auto& like = block_tables[rng.below(block_tables.size())];
        std::copy_n(like.begin(), rng.between(0, blocks), table.begin());
      }
      block_tables.push_back(std::move(table));
    }
    for (int i = 0; i < 12; ++i)
      segments.push_back({i, 1, static_cast<int>(rng.between(0, 2000)), block_tables[static_cast<size_t>(i)].data()});
    AttendArgs args{
        .heads = 2, .kv = {.block_tokens = block_tokens, .kv_heads = 2, .head_dim = 64}, .segments = segments};
    SharedPrefixes shared;
    find_shared_prefixes(args, 32, shared);
    std::vector<int> seen(12);
    const auto same = [&](int a, int b, int64_t tiles) {
      const AttendSegment &x = segments[static_cast<size_t>(a)], &y = segments[static_cast<size_t>(b)];
      if (std::min(x.first_pos, y.first_pos) + 1 < tiles * kSuperTile) return false;
      for (int64_t pos = 0; pos < tiles * kSuperTile; ++pos)
        if (x.blocks[pos / block_tokens] != y.blocks[pos / block_tokens]) return false;
      return true;
    };
    for (const auto& g : shared.groups) {
      EXPECT_GE(g.count, 2);
      EXPECT_GE(g.tiles, 1);
      const auto& leader = segments[static_cast<size_t>(shared.members[static_cast<size_t>(g.first)])];
      for (int i = g.first; i < g.first + g.count; ++i) {
        const int member = shared.members[static_cast<size_t>(i)];
        EXPECT_EQ(++seen[static_cast<size_t>(member)], 1);
        EXPECT_GE(segments[static_cast<size_t>(member)].first_pos + 1, g.tiles * kSuperTile);
        for (int64_t pos = 0; pos < g.tiles * kSuperTile; ++pos)
          ASSERT_EQ(segments[static_cast<size_t>(member)].blocks[pos / block_tokens],
                    leader.blocks[pos / block_tokens]);
      }
      bool longer = true;
      for (int i = g.first + 1; i < g.first + g.count; ++i)
        longer = longer && same(shared.members[static_cast<size_t>(g.first)], shared.members[static_cast<size_t>(i)],
                                g.tiles + 1);
      EXPECT_FALSE(longer);
    }
    for (int a = 0; a < 12; ++a)
      for (int b = a + 1; b < 12; ++b)
        EXPECT_TRUE(!same(a, b, 1) || seen[static_cast<size_t>(a)] + seen[static_cast<size_t>(b)] > 0) << a << ", " << b;
  }
}

}  // namespace
}  // namespace sluice
