#pragma once
// Virtual token counters: each client has a counter of the service it has had, input tokens when a request of it is
// let in and twice its output tokens as they come, divided by its weight; the client that has had least goes first. A client
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

  double rank(const Sequence& seq, Nanos) const override { return live_.at(seq.id).client->second.counter; }

  void on_new(const Sequence& seq) override;
  void on(const Event& event) override;

 private:
  static constexpr size_t kManyClients = 10'000;

  struct Client {
    double counter = 0;
    double weight = 1;
    int waiting = 0;  // sequences
    int live = 0;
  };
  using Clients = std::map<std::string, Client>;
  struct Live {
    Clients::iterator client;
    int input_tokens = 0;  // not charged yet
    bool waits = false;
  };

  void join(Live& live);
  void leave(Live& live);
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
