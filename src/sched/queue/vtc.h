#pragma once
// Virtual token counters: each client has a counter of the service it has had, input tokens when a request of it is
// let in and twice its output tokens as they come, divided by its weight; the client that has had least goes first. Counters
// stand still while a step is planned, which may let in many: each request ranks by its client's counter as it will be when
// those of the client before it have been let in, so that equal clients share the free seats of one step equally too (one
// that a gate passes over counts as let in for the order of that step alone). A client
// that comes back to the queue is lifted to the least of those that wait, so that idling earns no credit. Of two
// clients that always wait, neither gets more than 2 max(w_p * longest input, w_q * tokens of a batch) ahead, at any time; and no
// seat stays empty for fairness' sake. Lossless.
// Each admission gets on: the client with the least counter is never preempted, and only output moves its counter.
// Paper: Sheng et al., Fairness in serving large language models, OSDI 2024, algorithms 2 and 4 (weights).

#include <map>
#include <set>
#include <string>

#include "sched/policies.h"
#include "sched/queue/client_weights.h"

namespace sluice {

class Vtc final : public QueuePolicy {
 public:
  static constexpr double kInputWeight = 1, kOutputWeight = 2;  // w_p and w_q of the paper

  explicit Vtc(ClientWeights weights) : weights_(std::move(weights)) {}

  double rank(const Sequence& seq, Nanos) const override;

  void on_new(const Sequence& seq) override;
  void on(const Event& event) override;

 private:
  static constexpr size_t kManyClients = 10'000;

  struct Live;
  struct Client {
    double counter = 0;
    double weight = 1;
    int waiting = 0;  // sequences
    int live = 0;
    std::map<SeqId, Live*> uncharged;  // of those that wait, in the order in which they are let in
    int64_t end = 0;                   // where the next of them starts
  };
  using Clients = std::map<std::string, Client>;
  struct Live {
    Clients::iterator client;
    int input_tokens = 0;  // not charged yet
    bool waits = false;
    int64_t start = 0;  // input tokens of its client before it, counted from anywhere; of those in `uncharged`
  };

  void join(Live& live);
  void leave(SeqId id, Live& live);
  double floor() const;
  void forget_idle();

  const ClientWeights weights_;
  Clients clients_;
  std::map<SeqId, Live> live_;
  const Client* last_ = nullptr;  // to leave the queue; never forgotten
  std::set<const Client*> waiting_;
  size_t sweep_at_ = kManyClients;  // clients; then those are forgotten of whom nothing needs to be known
};

}  // namespace sluice
