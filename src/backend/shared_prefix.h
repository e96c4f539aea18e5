#pragma once
// Sequences whose block tables begin with the same blocks: by the prefix cache, or as samples of one prompt.

#include <cstdint>
#include <vector>

#include "backend/ops.h"

namespace sluice {

/// Groups of a call's segments, each with the leading super-tiles (row_ops.h) that are in the same blocks for all of
/// its members and that every row of theirs sees whole.
struct SharedPrefixes {
  struct Group {
    int first = 0, count = 0;  // of `members`
    int64_t tiles = 0;
  };
  std::vector<Group> groups;
  std::vector<int> members;  // segments, group by group

  struct Candidate {
    BlockId key;
    int segment;
    int64_t tiles, common;  // leading super-tiles: seen whole, and in the same blocks as the leader's
  };
  std::vector<Candidate> candidates;  // scratch
};

/// Segments of more than `most_rows` rows are left out: their rows read together as it is. Fills `out`, which keeps its
/// memory.
void find_shared_prefixes(const AttendArgs& args, int most_rows, SharedPrefixes& out);

}  // namespace sluice
