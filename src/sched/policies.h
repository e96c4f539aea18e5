#pragma once
// The seams of scheduling. Policies decide by returning values; the Scheduler validates and applies them. Each policy is
// one file in its folder and one line in that folder's catalog.

#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "base/event.h"
#include "sched/sequence.h"
#include "sched/step_plan.h"

namespace sluice {

/// What a policy may see: the books before this step.
struct View {
  Nanos now = 0;
  std::span<const Sequence* const> waiting, running;
  int available_blocks = 0;  // free + evictable, less what this plan has taken so far
  int total_blocks = 0;
  int block_tokens = 1;
};

/// One decision of the step in the making: `seq` computes n_tokens from first_pos.
struct Decided {
  const Sequence* seq = nullptr;
  int first_pos = 0, n_tokens = 0;
};

struct Budget {
  int tokens = 0;   // still free of --max-num-batched-tokens
  int seqs = 0;     // still free of --max-num-seqs
};

/// Events carry ids and counts only. A policy that needs more of a sequence for its side table takes it here.
struct SequenceObserver : Observer {
  /// A sequence has come, by its request's arrival or by a fork; before the event that says so.
  virtual void on_new(const Sequence&) {}
};

/// How many tokens a request will generate, guessed when it comes. One service for all who ask.
struct LengthPredictor : SequenceObserver {
  /// At least 1, at most max_tokens.
  virtual int predict(const Request& request) const = 0;
};

/// Orders sequences: low runs first; ties go to the earlier arrival, then to the lower id.
struct QueuePolicy : SequenceObserver {
  virtual double rank(const Sequence& seq, Nanos now) const = 0;
  /// False promises that the rank of a waiting sequence never changes: the queue is then kept in order, and a step costs
  /// by what it admits instead of by what waits.
  virtual bool rank_moves() const { return true; }
  /// May `waiting`, for which there is no room, take the place of `running`? Of those whose place it may take the
  /// PreemptPolicy names the victims. It must be a strict order over time too, lest two displace each other for ever.
  virtual bool outranks(const Sequence& /*waiting*/, const Sequence& /*running*/, Nanos /*now*/) const { return false; }
};

/// How many positions a sequence computes in this step. `computed` is where it stands: for a waiting sequence the
/// length of its prefix hit.
struct ChunkPolicy {
  virtual ~ChunkPolicy() = default;
  /// Ordered before rank: all of band 0 is decided before any of band 1. Constant while a sequence waits.
  virtual int band(const Sequence& seq) const = 0;
  /// 0 leaves the sequence out of this step. The scheduler clips the answer to what remains and to the budget.
  virtual int tokens_for(const Sequence& seq, int remaining, std::span<const Decided> plan, Budget left) const = 0;
};

enum class Verdict : uint8_t {
  yes,
  not_yet,    // and nobody behind it in the queue either, lest the big ones starve
  pass_over,  // others may go first
  never,      // it cannot run here at all
};

/// A waiting sequence that would be admitted now.
struct Candidate {
  const Sequence& seq;
  int cached_tokens = 0;   // of its prefix hit
  int blocks_needed = 0;   // new blocks for all of its tokens, beyond the hit
  std::span<const BlockRef> hit = {};  // the blocks of the prefix hit
  int blocks_in_all = 0;   // the most that it holds until they are computed
};

struct AdmissionGate : SequenceObserver {
  virtual Verdict admit(const Candidate& candidate, const View& view, std::span<const Decided> plan) const = 0;
  /// Takes back the place that it gave to a running sequence, which is preempted and asks again later.
  virtual bool revokes(const Sequence& /*running*/, const View& /*view*/) const { return false; }
  /// Of a gate that says not_yet until some time has passed: when that is; else `view.now`. Asked when nothing can run:
  /// the engine sleeps until then instead of giving up on the oldest request.
  virtual Nanos opens_at(const View& view) const { return view.now; }
};

struct PreemptPolicy : SequenceObserver {
  /// Which of these running sequences gives up its blocks so that `wants` can go on, or start where it outranks them; may
  /// be `wants` itself. kNoSeq: none of them, and `wants` waits.
  virtual SeqId victim(const Sequence& wants, std::span<const Sequence* const> running, Nanos now) const = 0;
};

struct Fork {
  SeqId parent = kNoSeq;
  int sample = 0;
  int tokens = 0;  // of the parent that the child keeps
  std::optional<TokenId> append = std::nullopt;  // with which the child goes on
};

/// A line of tokens that a search has ended.
struct Hypothesis {
  std::vector<SampledToken> tokens;  // the output
  double score = 0;
  FinishReason finish = FinishReason::none;
};

/// What becomes of sequences that were held, in this order. All belong to one request.
struct Regroup {
  struct Replace { SeqId seq; TokenId token; };
  std::vector<SeqId> drop;
  std::vector<Fork> fork;
  std::vector<Replace> replace;   // the newest token, which has no KV yet
  bool done = false;              // the search has ended, and all its sequences are dropped
  std::vector<Hypothesis> found;  // then: the request's outputs, best first
};

/// Splits sequences after a step: samples, beams; tree searches have the same shape.
struct Branching : Observer {
  /// The sequence has the token as its newest.
  virtual std::vector<Fork> after(const Sequence& seq, const SampledToken& token) = 0;
  /// It computes nothing until regroup() says how it goes on, and its newest token does not end it.
  virtual bool holds(SeqId) const { return false; }
  /// When all of a step has settled.
  virtual std::vector<Regroup> regroup() { return {}; }
};

}  // namespace sluice
