#pragma once
// Which runs of a prompt take their KV from the store of segments, and at which positions its tokens stand
// (docs/adr/0015-modular-kv.md).

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "kv/prefix/segment_cache.h"

namespace sluice {

/// Tokens [first, first + tokens) of a prompt. They are encoded behind its first `lead` tokens and nothing else, at their
/// positions less `shift`.
struct KvSegment {
  int first = 0, tokens = 0;
  int lead = 0, shift = 0;
  bool kept = false;  // not of the store, but of what the prefix cache happens to hold; computed as ever where it holds that no longer
  // By KvReuse::seal():
  SegmentKey key = {};
  bool exact = false;  // it is encoded behind all that precedes it, where it stands: its KV is what full prefill computes

  int end() const { return first + tokens; }
  int encoded_tokens() const { return lead + tokens; }
};

/// Which tokens of a reused segment are computed anew, behind all that precedes them.
enum class RecomputeRule : uint8_t {
  position,   // its first ones
  deviation,  // those whose keys and values differ most from the reused ones in the second layer (CacheBlend)
};

struct KvReuse {
  std::vector<int32_t> positions;   // of the prompt's tokens; empty: 0 and on. Output follows the last one
  std::vector<KvSegment> segments;  // ascending, apart; the prompt's last token is in none
  double recompute = 0;             // share of each segment, 0 to 1
  RecomputeRule rule = RecomputeRule::deviation;
  int exact_tokens = std::numeric_limits<int>::max();  // the KV of the first so many is what these tokens alone say; by seal()

  bool any() const { return !positions.empty() || !segments.empty(); }
  int32_t position_of(int token) const {
    const int n = static_cast<int>(positions.size());
    if (token < n) return positions[static_cast<size_t>(token)];
    return n == 0 ? token : positions.back() + 1 + token - n;
  }
  /// Tokens of a segment that are computed anew.
  int recomputed_of(const KvSegment& segment) const;
  /// The KV of the tokens that `cache` holds behind the first `from`, at other places than here (history_index.h): runs of at least `least_tokens`.
  void find_kept(const SegmentCache& cache, CacheSalt salt, std::span<const TokenId> prompt, int from, int least_tokens);
  /// Makes the keys, once all else stands. The prompt holds all segments.
  void seal(CacheSalt salt, std::span<const TokenId> prompt);
};

}  // namespace sluice
