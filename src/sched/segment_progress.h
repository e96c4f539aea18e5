#pragma once
// How far sequences with segments have come, and what each does next: a side table of the scheduler
// (docs/adr/0015-modular-kv.md). At the start of a segment that the store has, a sequence jumps to its end by copies; where
// the store lacks it, it encodes it first in a table of its own, as a detour; then it repairs it, as another.

#include <map>
#include <utility>
#include <vector>

#include "kv/prefix/segment_cache.h"
#include "sched/sequence.h"
#include "sched/step_plan.h"

namespace sluice {

/// What the next item of a sequence is.
struct SegmentWork {
  struct Take {
    int segment = 0;  // of the request
    SegmentHit hit;
    int shift = 0;    // of its keys
  };
  std::vector<Take> take;  // copied before the item, in order
  Detour detour = Detour::none;
  int segment = -1;  // of the detour
  int computed = 0;  // where the sequence stands then
  int rows = 0;      // at most so many

  bool plain() const { return take.empty() && detour == Detour::none; }
  /// Slots of its table that the sequence needs for `n` of the rows.
  int table_end(int n) const { return detour == Detour::none ? computed + n : computed; }
};

class SegmentProgress {
 public:
  /// `store` may be null: then no request has segments.
  SegmentProgress(SegmentCache* store, const BlockPool& pool) : store_(store), pool_(pool) {}

  /// For a sequence that has KV below `computed`. The first segment there is taken whatever it pins; others, and kept
  /// history, as long as what is pinned and what the sequence needs for all of its tokens are no more than `room` blocks.
  SegmentWork next(const Sequence& seq, int computed, int room) const;
  /// New blocks that `n` rows of the work take beside the sequence's table.
  int scratch_needed(const Sequence& seq, const SegmentWork& work, int n) const;
  int scratch_held(SeqId id) const;
  /// The same for all rows of an encoding; 0 for other work.
  int whole_scratch(const Sequence& seq, const SegmentWork& work) const { return scratch_needed(seq, work, work.rows); }

  // --- commit ---
  /// The copies of one hit, into a table that covers the segment.
  void take(const Sequence& seq, const SegmentWork::Take& take, StepPlan& plan);
  /// The table that an encoding of the sequence writes to.
  BlockTable& scratch(SeqId id) { return progress_[id].scratch; }
  /// Spells out tokens, slots and positions of the item's rows. The spans live until the next one of the sequence.
  void shape(const Sequence& seq, const SegmentWork& work, PlanItem& item);

  // --- settle ---
  /// A detour's rows are computed.
  void settle(const Sequence& seq, const PlanItem& item, const ItemResult& result);
  /// Tokens taken since the last call whose KV was there and stays as it is; each segment counts once.
  int take_reused(SeqId id);

  /// It has ended: what it has KV of behind kept history goes where the next turn finds it.
  void keep_history(const Sequence& seq);
  /// Starts anew, without blocks: preempted, or a part of its table was lost.
  void restart(SeqId id);
  void forget(SeqId id) { progress_.erase(id); }
  /// Every holder of scratch blocks, for the books.
  template <class Visit>
  void each_scratch(Visit visit) const {
    for (const auto& [id, p] : progress_)
      for (const BlockRef& block : p.scratch.refs()) visit(id, block);
  }

 private:
  struct Progress {
    int segment = -1;     // being encoded or repaired; -1: neither
    Detour stage = Detour::none;
    BlockTable scratch;   // under encode
    int done = 0;         // rows of the encoding or of the repair
    std::vector<float> deviation;  // of the rows that were probed
    std::vector<int32_t> chosen;   // tokens to be repaired, ascending
    std::vector<bool> counted;     // by segment: found, or encoded by itself
    int reused = 0;
    std::vector<int32_t> rows, slots, positions;  // of the plan in flight
  };
  const Progress* find(SeqId id) const;
  SegmentWork::Take look_up(const Request& request, int segment) const;
  int blocks(int tokens) const { return (tokens + pool_.block_tokens() - 1) / pool_.block_tokens(); }
  void count(Progress& progress, const Request& request, int segment, bool found);
  void begin_repair(Progress& progress, const Request& request, int segment);

  SegmentCache* store_;
  const BlockPool& pool_;
  std::map<SeqId, Progress> progress_;  // of those that have begun
};

}  // namespace sluice
