#pragma once
// Decides what each step computes, and keeps the books. Three calls make a step (docs/contracts/step.md):
//   decide()  asks the policies and returns a Decision; nothing changes but reference counts that pin prefix hits
//   commit()  the single mutator before a step: preempts, admits, allocates, copies on write; returns the StepPlan
//   settle()  the single mutator after it: advances `computed`, appends tokens, publishes prefixes, branches, finishes

#include <map>
#include <memory>
#include <set>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "base/event.h"
#include "kv/allocator/kv_allocator.h"
#include "kv/prefix/prefix_cache.h"
#include "kv/retention/kv_retention.h"
#include "kv/tier/restore.h"
#include "kv/tier/tier_index.h"
#include "sched/policies.h"
#include "sched/segment_progress.h"
#include "sched/sequence.h"
#include "sched/step_plan.h"
#include "sched/step_time.h"

namespace sluice {

/// A step holds the logits of every row that yields a token or a logprob. Those that sample are at most
/// --max-num-seqs; for prompts' logprobs there is room for so many more, and a longer prompt takes more steps.
inline constexpr int kMaxScoredRows = 64;

struct SchedulerConfig {
  int max_num_seqs = 256;
  int max_num_batched_tokens = 2048;
  int max_model_len = 2048;  // at most the pool's tokens, or what they hold under KV retention
  int long_prefill_token_threshold = 0;  // most positions of one sequence in one step; 0: no such limit
  int max_scored_rows = kMaxScoredRows;  // most positions of one step that yield logprobs of prompts
  int cache_reuse = 0;  // least tokens of a waiting prompt that are reused from elsewhere in the prefix cache; 0: none are looked for
  bool seals_blocks = false;  // nobody may go on in the middle of a full block: its KV format encodes whole ones, or it holds a recurrent state
  bool ends_at_blocks = false;  // a sequence's positions of one step are of one block: its KV format encodes two layers together,
                                // and the lower one can read no block that the upper one has yet to compute
};

struct SchedulerPolicies {
  std::unique_ptr<LengthPredictor> lengths;  // for the others, which it outlives; may be null
  std::unique_ptr<QueuePolicy> queue;
  std::unique_ptr<ChunkPolicy> chunk;
  std::vector<std::unique_ptr<AdmissionGate>> gates;  // all must say yes
  std::unique_ptr<PreemptPolicy> preempt;
  std::unique_ptr<Branching> branching;
  std::unique_ptr<KvAllocator> allocator;
  std::unique_ptr<TierPolicy> tier;        // of `tiers`; null where there are none
  std::unique_ptr<RestorePolicy> restore;  // the same
  std::shared_ptr<const KvRetention> retention;  // null: everything stays
  std::shared_ptr<StepTimeEstimate> step_time;  // what some of them ask, or null; told of every step
};

struct Decision {
  struct Admission {
    SeqId seq = kNoSeq;
    PrefixHit hit;
    std::vector<BlockRef> pages;  // those that are read first, from first_block(computed) on (kv/recent_pages.h)
    std::vector<BlockId> wanted;  // blocks whose pages would have been read, had they been there
    TierHit restore;   // blocks behind the hit that are loaded
    int computed = 0;  // where the sequence starts: both, less the last token, which is always computed
  };
  std::vector<SeqId> preempt;  // by running sequences that need blocks, and by waiting ones that outrank them
  std::vector<Admission> admit;
  std::vector<Decided> run;
  std::map<SeqId, SegmentWork> work;  // of those with segments, that run or are only copied to
  std::vector<SeqId> never;  // can never run here
};

/// What a step did to one sequence.
struct Outcome {
  SeqId seq = kNoSeq;
  bool sampled = false;
  SampledToken token;
  FinishReason finish = FinishReason::none;
  std::vector<SeqId> forks = {};  // children
  std::string error = {};    // under FinishReason::error
  // Logprobs of the prompt's tokens from `first_scored` on. After a preemption they come again.
  std::vector<SampledToken> prompt = {};
  int first_scored = 0;
  int reused = 0;  // tokens of segments that this step took from the store, for the first time, and that stay as they are
  // Of a search (Regroup): sequences that it dropped, `seq` perhaps among them; whether it has ended, and what it found.
  std::vector<SeqId> dropped = {};
  bool done = false;
  std::vector<Hypothesis> found = {};
};

class Scheduler {
 public:
  /// `tiers`: how much host memory and disk there is beside the pool.
  Scheduler(SchedulerConfig config, BlockPool& pool, PrefixCache& cache, SchedulerPolicies policies, TierConfig tiers = {});
  ~Scheduler();

  /// Queues a sequence for sample 0 of the request; the request fits max_model_len and the pool.
  SeqId add(std::shared_ptr<const Request> request, Nanos now);
  /// Ends a sequence between steps and frees its blocks at once; false when it is unknown.
  bool drop(SeqId id, Nanos now);

  /// Before decide(), under cache_reuse: those who are next in the queue get what the prefix cache holds of their prompts elsewhere as segments.
  void find_kept_history(Nanos now);
  Decision decide(Nanos now) const;
  StepPlan commit(Decision decision, Nanos now);
  std::vector<Outcome> settle(const StepPlan& plan, const StepResult& result, Nanos now);

  /// Null when unknown or finished.
  const Sequence* find(SeqId id) const;
  int waiting() const { return static_cast<int>(waiting_.size()); }
  int running() const { return static_cast<int>(running_.size()); }
  /// The waiting sequence that is first in queue order; kNoSeq when none waits.
  SeqId oldest_waiting(Nanos now) const;
  /// When a gate that holds the queue back lets it go on; `now` where none does.
  Nanos opens_at(Nanos now) const;
  const SchedulerConfig& config() const { return config_; }
  /// What an earlier run has left on disk, before the first step; returns how many blocks of it count.
  int recover(std::span<const RecoveredBlock> blocks) { return tiers_.recover(blocks); }
  const TierStats& tier_stats() const { return tiers_.stats(); }
  /// Whether blocks wait to be saved: then a step is due though no sequence is.
  bool has_copies() const { return tiers_.has_copies(); }
  StepTimeEstimate* step_time() const { return policies_.step_time.get(); }
  /// Events go to the policies, the prefix cache and every observer added here.
  void observe(Observer* observer) { observers_.push_back(observer); }

  /// Recounts every block and checks every invariant of docs/contracts/kv.md; on failure says which in `why`.
  bool consistent(std::string* why) const;

 private:
  struct Draft;
  Sequence& at(SeqId id) { return *sequences_.at(id); }
  void emit(Event::Kind kind, SeqId seq, int tokens, Nanos now, SeqId other = kNoSeq);
  class Order;
  /// Sequences are considered in ascending order of (band, rank, arrival, id).
  using Key = std::tuple<int, double, Nanos, SeqId>;
  Key key(const Sequence& seq, Nanos now) const;
  /// The first so many that wait, in the order in which they are considered.
  std::vector<const Sequence*> first_waiting(size_t most, Nanos now) const;
  void announce(const Sequence& seq);
  void enqueue(Sequence& seq, Nanos now);
  void dequeue(Sequence& seq, Nanos now);
  void consider_running(const Sequence& seq, Draft& draft, Nanos now) const;
  void consider_waiting(const Sequence& seq, Draft& draft, Nanos now) const;
  Verdict try_admit(const Sequence& seq, Draft& draft, Nanos now) const;
  Verdict make_room(const Sequence& seq, Draft& draft, Nanos now) const;
  void displace(SeqId id, Draft& draft) const;
  int clip(int asked, const Sequence& seq, const SegmentWork& work, const Draft& draft) const;
  int blocks_for(const BlockTable& table, int computed, int end) const;
  int blocks_released(const Sequence& seq) const;
  /// Whether sequences may hold the same blocks.
  bool shares() const { return policies_.allocator->shares() && !policies_.retention->evicts(); }
  /// Lets go of what has to go before the sequence computes on.
  void evict_kv(Sequence& seq, StepPlan& plan);
  void preempt(Sequence& seq, Nanos now);
  TierHit restorable(const Sequence& seq, const PrefixHit& hit) const;
  BlockRef fresh_block(std::span<const BlockId> before);
  // scheduler_recent.cpp
  void take_page(BlockTable& table, int block);
  void push_fresh(BlockTable& table);
  std::vector<BlockId> trim_to_pages(PrefixHit& hit, int computed) const;
  std::vector<BlockRef> pages_read(std::span<const BlockRef> blocks, int computed) const;
  void want_pages(const Decision::Admission& admission);
  void set_pages(BlockTable& table, int computed, std::vector<BlockRef> pages);
  int resumable(const BlockTable& table, int computed);
  int most_pages(const Sequence& seq) const;
  int free_page_seats() const;
  void settle_pages(Sequence& seq, int full_before, int full);
  void make_writable(Sequence& seq, int end, StepPlan& plan);
  void look_ahead(Sequence& seq, int end);
  void restore(Sequence& seq, const TierHit& hit, StepPlan& plan);
  void fetch_for_waiting(StepPlan& plan, Nanos now);
  // scheduler_segments.cpp
  SegmentWork next_work(const Sequence& seq, int computed, int room) const;
  static int reclaimed_by(const SegmentWork& work, const Draft& draft);
  static void take_back(const SegmentWork& work, Draft& draft);
  void find_kept_history(Sequence& seq);
  void note_work(const Sequence& seq, SegmentWork work, Decision& decision) const;
  void take_segments(Sequence& seq, const SegmentWork& work, StepPlan& plan, Nanos now);
  void shape(Sequence& seq, const SegmentWork& work, PlanItem& item);
  /// Whether the item was a detour, whose rows then count for it.
  bool settle_detour(const Sequence& seq, const PlanItem& item, const ItemResult& done, Nanos now);
  /// Takes the executor's word on what was loaded, before anything else of the step counts.
  void settle_tiers(const StepPlan& plan, const StepResult& result, Nanos now);
  void release(Sequence& seq, Nanos now);
  int restart(int computed, const Sequence& parent) const;
  void fork(const Fork& fork, Outcome& outcome, Nanos now);
  Outcome regroup(Regroup change, Nanos now);
  SeqId youngest_held() const;

  SchedulerConfig config_;
  BlockPool& pool_;
  PrefixCache& cache_;
  SchedulerPolicies policies_;
  std::vector<SequenceObserver*> policy_observers_;
  std::vector<Observer*> observers_;
  TierIndex tiers_;
  SegmentProgress segments_;
  struct Load {
    SeqId seq;
    int first_pos;
    uint64_t hash;
  };
  std::vector<Load> loads_;  // of the plan in flight
  std::vector<SeqId> ended_;  // since the last plan that had items
  std::vector<int32_t> slot_positions_;  // 0, 1, ...: where the policy rotates by slots
  Nanos committed_at_ = 0;
  std::unordered_map<SeqId, std::unique_ptr<Sequence>> sequences_;
  std::vector<const Sequence*> waiting_, running_;
  std::set<std::pair<Key, const Sequence*>> waiting_order_;  // of waiting_, when the queue policy's ranks do not move
  SeqId next_id_ = 1;
};

}  // namespace sluice
