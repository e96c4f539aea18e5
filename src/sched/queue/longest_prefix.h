#pragma once
// Longest prefix match first: of the first waiting requests that is let in first of which the prefix cache holds
// most now. With a full queue the radix tree is so walked depth first, which computes each shared prefix once however small
// the cache is. A request that has waited for `aging` goes before all that have not, in the order of arrival, so that no
// stream of hits holds it back for longer. A step matches at most kLookAhead requests. Lossless.
// Each admission gets on: those that run are ranked by arrival alone, and the oldest of them is never preempted.
// Paper: RadixAttention's cache-aware scheduling (Zheng et al., SGLang, NeurIPS 2024, theorem 3.1).

#include <map>
#include <set>
#include <utility>

#include "sched/policies.h"

namespace sluice {

class LongestPrefix final : public QueuePolicy {
 public:
  static constexpr size_t kLookAhead = 128;

  /// The cache outlives the policy.
  LongestPrefix(const PrefixCache& cache, Nanos aging, size_t look_ahead = kLookAhead)
      : cache_(cache), aging_(aging), look_ahead_(look_ahead) {}

  double rank(const Sequence& seq, Nanos now) const override;

  void on_new(const Sequence& seq) override;
  void on(const Event& event) override;

 private:
  using Arrived = std::pair<Nanos, SeqId>;
  void join(const Arrived& arrived);
  void leave(const Arrived& arrived);

  const PrefixCache& cache_;
  Nanos aging_;
  size_t look_ahead_;
  std::map<SeqId, Nanos> arrivals_;
  std::set<Arrived> first_, behind_;  // of those that wait: the look-ahead, and the rest
};

}  // namespace sluice
