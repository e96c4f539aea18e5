#include "backend/shared_prefix.h"

#include <algorithm>

#include "backend/row_ops.h"

namespace sluice {
namespace {

using Candidate = SharedPrefixes::Candidate;

// Leading super-tiles, at most `most`, that two block tables hold in the same blocks.
int64_t common_tiles(const BlockId* a, const BlockId* b, int64_t most, int block_tokens) {
  const int64_t blocks = (most * kSuperTile + block_tokens - 1) / block_tokens;
  const int64_t same = std::mismatch(a, a + blocks, b).first - a;
  return std::min(most, same * block_tokens / kSuperTile);
}

// The first candidate leads the group of those who share with it that saves the most reads; the others are tried again.
void add_groups(const AttendArgs& args, std::vector<Candidate>::iterator begin, std::vector<Candidate>::iterator end,
                SharedPrefixes& out) {
  const auto blocks_of = [&](const Candidate& c) { return args.segments[static_cast<size_t>(c.segment)].blocks; };
  while (end - begin >= 2) {
    for (auto c = begin + 1; c != end; ++c)
      c->common =
          common_tiles(blocks_of(*begin), blocks_of(*c), std::min(begin->tiles, c->tiles), args.kv.block_tokens);
    std::stable_sort(begin + 1, end, [](const Candidate& a, const Candidate& b) { return a.common > b.common; });
    int64_t saved = 0, others = 0;  // super-tiles that need not be read again
    for (int64_t n = 1; n < end - begin; ++n)
      if (n * begin[n].common > saved) saved = n * begin[n].common, others = n;
    if (others > 0) {
      out.groups.push_back({static_cast<int>(out.members.size()), static_cast<int>(others) + 1, begin[others].common});
      for (int64_t n = 0; n <= others; ++n) out.members.push_back(begin[n].segment);
    }
    begin += others + 1;
  }
}

}  // namespace

void find_shared_prefixes(const AttendArgs& args, int most_rows, SharedPrefixes& out) {
  out.groups.clear();
  out.members.clear();
  out.candidates.clear();
  // Biases differ from row to row; an encoder's segments have nothing before them.
  if (args.slopes != nullptr || !args.causal) return;
  for (size_t i = 0; i < args.segments.size(); ++i) {
    const AttendSegment& s = args.segments[i];
    const int64_t tiles = (int64_t{s.first_pos} + 1) / kSuperTile;
    const bool windowed = args.window > 0 && s.first_pos + s.rows > args.window;  // a row sees less than all before it
    if (tiles == 0 || s.rows > most_rows || windowed) continue;
    out.candidates.push_back({s.blocks[(kSuperTile - 1) / args.kv.block_tokens], static_cast<int>(i), tiles, 0});
  }
  // Who shares the first super-tile shares its last block.
  std::ranges::sort(out.candidates, {}, [](const Candidate& c) { return std::pair(c.key, c.segment); });
  for (auto begin = out.candidates.begin(); begin != out.candidates.end();) {
    const auto end = std::find_if(begin, out.candidates.end(), [&](const Candidate& c) { return c.key != begin->key; });
    add_groups(args, begin, end, out);
    begin = end;
  }
}

}  // namespace sluice
