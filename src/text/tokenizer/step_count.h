#pragma once
// The work of encoding, counted: what a test of linear time asserts, where a clock would only guess.

#include <cstdint>

namespace sluice {

/// Steps that this thread's models took: symbols looked at, merges queued and tried, nodes of a trie visited.
inline thread_local uint64_t tokenizer_steps = 0;

}  // namespace sluice
