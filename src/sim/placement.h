#pragma once
// Where the blocks of a long context stand in a pool in which sequences come and go, for whoever measures kernels.

#include <vector>

#include "kv/allocator/kv_allocator.h"

namespace sluice {

class Rng;

/// The table of a sequence of `tokens` that joins others in a pool which is always full: of 15 other sequences of up to an eighth of
/// its tokens (2,048 at most), which take a token each in turn, end and are followed by others, and of the KV of those that ended,
/// kept until somebody needs its place. That goes on until eight times the pool was taken; then the sequence comes, in chunks of a
/// quarter of that eighth beside the others, and the tokens of the last chunk one by one.
std::vector<BlockId> churned_table(const KvAllocator& allocator, int tokens, int block_tokens, Rng& rng);

}  // namespace sluice
