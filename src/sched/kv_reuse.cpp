#include "sched/kv_reuse.h"

#include <algorithm>
#include <cmath>

namespace sluice {

int KvReuse::recomputed_of(const KvSegment& segment) const {
  if (segment.exact) return 0;
  return std::clamp(static_cast<int>(std::ceil(recompute * segment.tokens - 1e-9)), 0, segment.tokens);
}

void KvReuse::find_kept(const SegmentCache& cache, CacheSalt salt, std::span<const TokenId> prompt, int from, int least_tokens) {
  for (int at = from; at + least_tokens < static_cast<int>(prompt.size());) {
    const auto rest = prompt.subspan(static_cast<size_t>(at), prompt.size() - 1 - static_cast<size_t>(at));  // the last token is computed
    const auto run = cache.find_kept(salt, rest);
    const int n = run ? static_cast<int>(run->blocks.size()) * run->block_tokens : 0;
    if (n < std::max(1, least_tokens)) {
      at += std::max(1, n);  // what begins within a run that is too short is rarely longer
      continue;
    }
    segments.push_back({.first = at, .tokens = n, .kept = true});
    at += n;
  }
}

void KvReuse::seal(CacheSalt salt, std::span<const TokenId> prompt) {
  for (KvSegment& s : segments) {
    std::vector<TokenId> tokens;
    std::vector<int32_t> at;
    const auto take = [&](int first, int n, int shift) {
      for (int i = first; i < first + n; ++i) tokens.push_back(prompt[static_cast<size_t>(i)]), at.push_back(position_of(i) - shift);
    };
    take(0, s.lead, 0);
    take(s.first, s.tokens, s.shift);
    s.key = SegmentKey(salt, s.lead, std::move(tokens), std::move(at));
  }
  int in_place = positions.empty() ? std::numeric_limits<int>::max() : 0;  // tokens whose position is their index
  while (in_place < static_cast<int>(positions.size()) && positions[static_cast<size_t>(in_place)] == in_place) ++in_place;
  for (KvSegment& s : segments) s.exact = s.first == s.lead && s.shift == 0 && s.end() <= in_place;
  exact_tokens = segments.empty() ? in_place : std::min(in_place, segments[0].first);
}

}  // namespace sluice
