#include "backend/attend_plan.h"

#include <algorithm>

#include "backend/row_ops.h"

namespace sluice {
namespace {

constexpr int kBlockQueries = 64;   // query vectors of a block: enough to pay for reading and converting K and V once
constexpr int kConvertCost = 8;     // that reading, in query vectors
constexpr int kUnitsPerThread = 4;  // units as small as this share of the whole keep all workers busy to the end
constexpr int64_t kArenaLimitFloats = int64_t{16} << 20;  // past 64 MiB of partials, blocks stay whole

int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

void add_blocks(const AttendArgs& args, int segment, AttendPlan& plan) {
  const AttendSegment& s = args.segments[static_cast<size_t>(segment)];
  const int group = args.heads / args.kv.kv_heads;
  const int block_rows = std::max(1, kBlockQueries / group);
  for (int row = 0; row < s.rows; row += block_rows) {
    AttendBlock b{.segment = segment, .first_row = row, .rows = std::min(block_rows, s.rows - row)};
    const int64_t first = s.first_pos + row, last = first + b.rows - 1;
    b.tile_begin = (args.window > 0 ? std::max<int64_t>(0, first - args.window + 1) : 0) / kSuperTile;
    b.tile_end = last / kSuperTile + 1;
    b.cost = (b.tile_end - b.tile_begin) * (b.rows * group + kConvertCost);
    for (b.kv_head = 0; b.kv_head < args.kv.kv_heads; ++b.kv_head) plan.blocks.push_back(b);
  }
}

}  // namespace

int64_t attend_part_floats(int n, int head_dim) {
  return round_up(n, kLanes) * 2 + static_cast<int64_t>(n) * padded_dim(head_dim);
}

void plan_attention(const AttendArgs& args, int threads, AttendPlan& plan) {
  plan.blocks.clear();
  plan.units.clear();
  plan.split.clear();
  plan.arena_floats = 0;
  for (size_t i = 0; i < args.segments.size(); ++i) add_blocks(args, static_cast<int>(i), plan);

  int64_t total = 0;
  for (const AttendBlock& b : plan.blocks) total += b.cost;
  const int64_t limit = total / (static_cast<int64_t>(threads) * kUnitsPerThread);
  const int group = args.heads / args.kv.kv_heads;
  for (size_t i = 0; i < plan.blocks.size(); ++i) {
    AttendBlock& b = plan.blocks[i];
    const int64_t tiles = b.tile_end - b.tile_begin;
    const int64_t floats = tiles * attend_part_floats(b.rows * group, args.kv.head_dim);
    int64_t step = tiles;
    if (threads > 1 && tiles > 1 && b.cost > limit && plan.arena_floats + floats <= kArenaLimitFloats) {
      step = std::max<int64_t>(1, limit / (b.cost / tiles));
      b.arena_floats = plan.arena_floats;
      plan.arena_floats += floats;
      plan.split.push_back(static_cast<int>(i));
    }
    for (int64_t tile = b.tile_begin; tile < b.tile_end; tile += step)
      plan.units.push_back({static_cast<int>(i), tile, std::min(tile + step, b.tile_end)});
  }
  const auto cost = [&](const AttendUnit& u) {
    const AttendBlock& b = plan.blocks[static_cast<size_t>(u.block)];
    return b.cost / (b.tile_end - b.tile_begin) * (u.tile_end - u.tile_begin);
  };
  std::stable_sort(plan.units.begin(), plan.units.end(),
                   [&](const AttendUnit& a, const AttendUnit& b) { return cost(a) > cost(b); });
}

}  // namespace sluice
