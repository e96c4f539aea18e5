#pragma once
// How one attention call is cut into units of work. The cut decides only who computes what and when: each partial is a
// fixed super-tile's (row_ops.h) and they merge in ascending order, so no cut changes a bit.
// (Work lists over ragged, paged KV as in FlashInfer, Ye et al. 2025; the split over KV as in Flash-Decoding.)

#include <cstdint>
#include <vector>

#include "backend/ops.h"

namespace sluice {

/// Rows [first_row, first_row + rows) of a segment, against one KV head and the super-tiles [tile_begin, tile_end).
struct AttendBlock {
  int segment = 0, kv_head = 0, first_row = 0, rows = 0;
  int64_t tile_begin = 0, tile_end = 0;
  int64_t cost = 0;           // in an arbitrary unit
  int64_t arena_floats = -1;  // where its partials stand, one per super-tile, when it is split; -1: not split
};

/// Consecutive super-tiles of a block, for one worker.
struct AttendUnit {
  int block = 0;
  int64_t tile_begin = 0, tile_end = 0;
};

struct AttendPlan {
  std::vector<AttendBlock> blocks;
  std::vector<AttendUnit> units;  // the longest first
  std::vector<int> split;         // blocks whose partials are merged when all units are done
  int64_t arena_floats = 0;
};

/// Floats of one partial (m, l, o) of n query vectors, rounded up to keep 64-byte alignment.
int64_t attend_part_floats(int n, int head_dim);

/// Fills `plan` (which keeps its memory) for `threads` workers.
void plan_attention(const AttendArgs& args, int threads, AttendPlan& plan);

}  // namespace sluice
