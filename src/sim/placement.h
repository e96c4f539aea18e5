#pragma once
// Where the blocks of a long context stand in a pool, for whoever measures kernels.

#include <span>
#include <string_view>
#include <vector>

#include "base/ids.h"

namespace sluice {

class Rng;

struct Placement {
  std::string_view name, help;
  /// The table of a context of `tokens`.
  std::vector<BlockId> (*table)(int tokens, int block_tokens, Rng& rng);
};

/// `pool`: what the paged allocator gives a sequence that joins others in a pool which is always full: of 15 other sequences of up
/// to an eighth of its tokens (2,048 at most), which take a token each in turn, end and are followed by others, and of the KV of those
/// that ended, kept until somebody needs its place. That goes on until eight times the pool was taken; then the sequence comes, in
/// chunks of a quarter of that eighth beside the others, and the tokens of the last chunk one by one.
std::span<const Placement> placements();
/// Null: there is no such one.
const Placement* find_placement(std::string_view name);

}  // namespace sluice
