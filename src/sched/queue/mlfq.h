#pragma once
// Skip-join multi-level feedback queue: nobody has to know how long a request will be. A request has used up its queue's
// quantum when it has run for so long, and goes down to the next queue, whose quantum is twice as long; higher queues go
// first, and one that waits takes the place of one that runs in a lower queue, between any two tokens. A new request
// enters the queue whose quantum covers its first iteration, its prefill, instead of sinking there through all those
// above ("skip-join"). One that has waited for `aging` goes first, and has a quantum again as if it were new. Within a queue: order of arrival.
// One that is displaced has to be computed again; so none is before it has run kWorth times as long as that took the last
// time, and recomputation never takes more than 1 / (1 + kWorth) of the time.
// Lossless. The first quantum is that of a few of the shortest iterations, and prefill times come from the steps that were seen: a
// line over their tokens.
// Each admission gets on: a sequence that was let in is not displaced, and ranks first, until it has generated a token.
// Paper: Wu et al., Fast distributed inference serving for large language models (FastServe), 2023. Its swapping belongs to what
// stands behind preemption.

#include <map>

#include "sched/policies.h"

namespace sluice {

class Mlfq final : public QueuePolicy {
 public:
  static constexpr int kQueues = 10;           // the last one has no quantum
  static constexpr double kFirstQuantum = 8;  // of the shortest iterations: fewer displace more, each time at the price of a recomputation

  static constexpr double kWorth = 4;

  explicit Mlfq(Nanos aging) : aging_(aging) {}

  double rank(const Sequence& seq, Nanos now) const override;
  bool outranks(const Sequence& waiting, const Sequence& running, Nanos now) const override;

  void on_new(const Sequence& seq) override;
  void on(const Event& event) override;

 private:
  struct Job {
    int queue = 0;
    double used_ns = 0;        // of its queue's quantum
    Nanos waiting_since = 0;   // while it waits
    int tokens = 0;            // that it would have to compute if it were let in now
    bool in_iteration = false; // let in, and no token yet
    double iteration_ns = 0;   // what it ran until that token, since it was let in,
    double since_ns = 0;       // and in all since then
  };
  /// Step times over the tokens of a step, by least squares; old steps fade.
  struct StepLine {
    double n = 0, x = 0, y = 0, xx = 0, xy = 0;
    void add(double tokens, double ns);
    bool known() const { return n >= 8; }
    double ns(double tokens) const;
  };

  double quantum_ns(int queue) const { return kFirstQuantum * steps_.ns(1) * static_cast<double>(1 << queue); }
  int entry_queue(int tokens) const;
  /// Where it stands, and where it would if it were let in now.
  int queue_of(const Job& job, bool waits, Nanos now) const;
  void ran(Job& job, const Event& event);

  Nanos aging_;
  std::map<SeqId, Job> jobs_;
  StepLine steps_;
  Nanos started_ = 0, settled_ = 0;  // the step that settled last: it began at the settling before, or with an admission
  double step_ns_ = 0, step_tokens_ = 0;
};

}  // namespace sluice
