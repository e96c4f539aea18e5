#pragma once
// How one attention call is cut into units of work. The cut decides only who computes what and when: each partial is a
// fixed super-tile's (row_ops.h) and they merge in ascending order, so no cut changes a bit.
// (Work lists over ragged, paged KV as in FlashInfer, Ye et al. 2025; the split over KV as in Flash-Decoding. The rows of
// sequences that share a prefix read its keys and values together, as in Hydragen, Juravsky et al. 2024, and
// ChunkAttention, Ye et al. 2024; what those do with a second softmax, the merge of super-tiles does here.)

#include <cstdint>
#include <vector>

#include "backend/ops.h"
#include "backend/shared_prefix.h"

namespace sluice {

/// The positions [first, end) that a segment's row at `pos` sees.
struct Seen {
  int64_t first, end;
};
Seen seen_by(const AttendArgs& args, const AttendSegment& segment, int64_t pos);

/// Rows against one KV head and the super-tiles [tile_begin, tile_end): consecutive rows of one segment, or, of sequences
/// that share a prefix, all their rows against it.
struct AttendBlock {
  int segment = 0, kv_head = 0, first_row = 0, rows = 0;  // first_row: of the segment
  int64_t tile_begin = 0, tile_end = 0;
  int64_t cost = 0;  // in an arbitrary unit
  // Its partials in the arena: one per super-tile where workers share the block; one, all merged, of a shared prefix that
  // they do not share; none where the block is finished when it is computed, or is computed when the prefix is there.
  int64_t arena_floats = 0;
  int64_t parts = 0;
  int batch_rows = -1;               // >= 0: a shared prefix, whose rows stand there in AttendPlan::batch_rows
  int prefix = -1, prefix_row = 0;   // the block of the prefix that these rows share, and the first of them in it
};

/// Super-tiles of one KV head before the next one's, where a unit has several: few pages at a time.
constexpr int64_t kTurnTiles = 4;

/// Consecutive super-tiles of a block, or of the blocks of all KV heads from `block` on, for one worker.
struct AttendUnit {
  int block = 0, heads = 1;
  int64_t tile_begin = 0, tile_end = 0;
};

struct AttendPlan {
  std::vector<AttendBlock> blocks;
  std::vector<AttendUnit> units;  // the longest first
  std::vector<int> last;          // blocks that are finished when all units are done, the longest first
  std::vector<int> batch_rows;    // rows of the batch
  int64_t arena_floats = 0;

  SharedPrefixes shared;  // scratch
  struct Prefix {
    int block = -1, row = 0;  // of the first KV head
  };
  std::vector<Prefix> prefix_of;  // by segment
};

/// Floats of one partial (m, l, o) of n query vectors, rounded up to keep 64-byte alignment.
int64_t attend_part_floats(int n, int head_dim);

/// Segments of no more rows, of `group` query vectors each, share their prefixes; they are one block.
int attend_shared_rows(int group);

/// Fills `plan` (which keeps its memory) for `threads` workers.
void plan_attention(const AttendArgs& args, int threads, AttendPlan& plan);

}  // namespace sluice
