#include "backend/attend_plan.h"

#include <algorithm>

#include "backend/row_ops.h"

namespace sluice {
namespace {

constexpr int kFewestQueries = 64;   // query vectors of a block: enough to pay for reading K and V, and transposing K
constexpr int kMostQueries = 256;    // their scores and outputs stay in L2
constexpr int kConvertCost = 8;      // that reading, in query vectors
constexpr int kUnitsPerThread = 4;   // units as small as this share of the whole keep all workers busy to the end
constexpr int64_t kArenaLimitFloats = int64_t{16} << 20;  // past 64 MiB of partials, blocks stay whole

int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

// The block for every KV head.
void add_for_heads(const AttendArgs& args, AttendBlock b, AttendPlan& plan) {
  const int prefix = b.prefix;
  b.cost = (b.tile_end - b.tile_begin) * (b.rows * (args.heads / args.kv.kv_heads) + kConvertCost);
  for (b.kv_head = 0; b.kv_head < args.kv.kv_heads; ++b.kv_head) {
    if (prefix >= 0) b.prefix = prefix + b.kv_head;
    plan.blocks.push_back(b);
  }
}

void add_shared_blocks(const AttendArgs& args, AttendPlan& plan) {
  const int group = args.heads / args.kv.kv_heads;
  plan.prefix_of.assign(args.segments.size(), {});
  find_shared_prefixes(args, attend_shared_rows(group), plan.shared);
  for (const SharedPrefixes::Group& g : plan.shared.groups)
    for (int i = g.first; i < g.first + g.count;) {
      AttendBlock b{.segment = plan.shared.members[static_cast<size_t>(i)], .tile_end = g.tiles};
      b.batch_rows = static_cast<int>(plan.batch_rows.size());
      const int block = static_cast<int>(plan.blocks.size());
      do {
        const size_t member = static_cast<size_t>(plan.shared.members[static_cast<size_t>(i)]);
        const AttendSegment& s = args.segments[member];
        if (b.rows > 0 && (b.rows + s.rows) * group > kMostQueries) break;
        plan.prefix_of[member] = {block, b.rows};
        for (int row = 0; row < s.rows; ++row) plan.batch_rows.push_back(s.first_row + row);
        b.rows += s.rows;
      } while (++i < g.first + g.count);
      add_for_heads(args, b, plan);
    }
}

// Query vectors of a segment's blocks: as many as leave every worker its units.
int block_queries(const AttendArgs& args, int threads) {
  int64_t queries = 0;
  for (const AttendSegment& s : args.segments) queries += int64_t{s.rows} * args.heads;
  return static_cast<int>(std::clamp<int64_t>(queries / (int64_t{threads} * kUnitsPerThread), kFewestQueries, kMostQueries));
}

void add_blocks(const AttendArgs& args, int segment, int queries, AttendPlan& plan) {
  const AttendSegment& s = args.segments[static_cast<size_t>(segment)];
  const AttendPlan::Prefix prefix = plan.prefix_of[static_cast<size_t>(segment)];
  const int block_rows = std::max(1, queries / (args.heads / args.kv.kv_heads));
  for (int row = 0, rows; row < s.rows; row += rows) {
    AttendBlock b{.segment = segment, .first_row = row, .rows = std::min(block_rows, s.rows - row)};
    if (args.kv.format->block != nullptr)  // rows of different blocks read different ones open
      b.rows = std::min(b.rows, args.kv.block_tokens - (s.first_pos + row) % args.kv.block_tokens);
    const int64_t first = s.first_pos + row, last = first + b.rows - 1;
    b.tile_begin = seen_by(args, s, first).first / kSuperTile;
    b.tile_end = (seen_by(args, s, last).end + kSuperTile - 1) / kSuperTile;
    b.prefix = prefix.block;
    b.prefix_row = prefix.row;
    if (prefix.block >= 0) b.tile_begin = plan.blocks[static_cast<size_t>(prefix.block)].tile_end;
    add_for_heads(args, b, plan);
    rows = b.rows;
  }
}

// Cuts the block `first`, or those of all KV heads that begin with it, into units of at most `limit`; returns how many.
size_t cut(const AttendArgs& args, int threads, int64_t limit, size_t first, AttendPlan& plan) {
  const AttendBlock b = plan.blocks[first];
  const int group = args.heads / args.kv.kv_heads;
  const int64_t tiles = b.tile_end - b.tile_begin, floats = attend_part_floats(b.rows * group, args.kv.head_dim);
  const auto splits = [&](int heads) {
    return threads > 1 && tiles > 1 && b.cost * heads > limit && plan.arena_floats + tiles * floats * heads <= kArenaLimitFloats;
  };
  // Few query vectors wait for memory more than they compute: the heads are better together, if every worker gets its share.
  const int all = args.kv.kv_heads;
  const bool together = b.batch_rows < 0 && b.prefix < 0 && b.rows * group < kFewestQueries && b.cost / tiles * all <= limit &&
                        (splits(all) || b.cost * all <= limit || threads == 1);
  const int heads = together ? all : 1;
  const bool split = splits(heads);
  for (size_t h = first; h < first + static_cast<size_t>(heads); ++h) {
    AttendBlock& block = plan.blocks[h];
    block.parts = split ? tiles : b.batch_rows >= 0 ? 1 : 0;
    block.arena_floats = plan.arena_floats;
    plan.arena_floats += block.parts * floats;
    if (b.batch_rows < 0 && (split || b.prefix >= 0)) plan.last.push_back(static_cast<int>(h));
  }
  if (b.prefix >= 0 && !split) return 1;  // computed when its prefix is there
  const int64_t step = split ? std::max<int64_t>(1, limit / (b.cost / tiles * heads)) : tiles;
  for (int64_t tile = b.tile_begin; tile < b.tile_end; tile += step)
    plan.units.push_back({static_cast<int>(first), heads, tile, std::min(tile + step, b.tile_end)});
  return static_cast<size_t>(heads);
}

}  // namespace

Seen seen_by(const AttendArgs& args, const AttendSegment& segment, int64_t pos) {
  const int64_t reach = args.causal ? args.window - 1 : args.window / 2;  // of a window
  const int64_t first = args.window > 0 ? std::max<int64_t>(0, pos - reach) : 0;
  if (args.causal) return {first, pos + 1};
  const int64_t end = int64_t{segment.first_pos} + segment.rows;
  return {first, args.window > 0 ? std::min(end, pos + reach + 1) : end};
}

int64_t attend_part_floats(int n, int head_dim) {
  return round_up(n, kLanes) * 2 + static_cast<int64_t>(n) * padded_dim(head_dim);
}

int attend_shared_rows(int group) { return std::max(1, kFewestQueries / group); }

void plan_attention(const AttendArgs& args, int threads, AttendPlan& plan) {
  plan.blocks.clear();
  plan.units.clear();
  plan.last.clear();
  plan.batch_rows.clear();
  plan.arena_floats = 0;
  add_shared_blocks(args, plan);
  const int queries = block_queries(args, threads);
  for (size_t i = 0; i < args.segments.size(); ++i) add_blocks(args, static_cast<int>(i), queries, plan);

  int64_t total = 0;
  for (const AttendBlock& b : plan.blocks) total += b.cost;
  const int64_t limit = total / (static_cast<int64_t>(threads) * kUnitsPerThread);
  for (size_t i = 0; i < plan.blocks.size();) i += cut(args, threads, limit, i, plan);
  const auto cost = [&](const AttendUnit& u) {
    const AttendBlock& b = plan.blocks[static_cast<size_t>(u.block)];
    return b.cost / (b.tile_end - b.tile_begin) * (u.tile_end - u.tile_begin) * u.heads;
  };
  std::stable_sort(plan.units.begin(), plan.units.end(),
                   [&](const AttendUnit& a, const AttendUnit& b) { return cost(a) > cost(b); });
  std::stable_sort(plan.last.begin(), plan.last.end(), [&](int a, int b) {
    return plan.blocks[static_cast<size_t>(a)].cost > plan.blocks[static_cast<size_t>(b)].cost;
  });
}

}  // namespace sluice
