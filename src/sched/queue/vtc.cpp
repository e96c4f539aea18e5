#include "sched/queue/vtc.h"

#include <algorithm>
#include <limits>

namespace sluice {

double Vtc::rank(const Sequence& seq, Nanos) const {
  const Live& live = live_.at(seq.id);
  const Client& client = live.client->second;
  if (!live.waits || live.input_tokens == 0) return client.counter;
  const int64_t ahead = live.start - client.uncharged.begin()->second->start;
  return client.counter + kInputWeight * static_cast<double>(ahead) / client.weight;
}

/// What a client that comes to the queue is lifted to.
double Vtc::floor() const {
  if (waiting_.empty()) return last_ != nullptr ? last_->counter : 0;
  double least = std::numeric_limits<double>::infinity();
  for (const Client* client : waiting_) least = std::min(least, client->counter);
  return least;
}

void Vtc::join(Live& live) {
  Client& client = live.client->second;
  live.waits = true;
  if (client.waiting == 0) {
    client.counter = std::max(client.counter, floor());
    waiting_.insert(&client);
  }
  ++client.waiting;
}

void Vtc::leave(SeqId id, Live& live) {
  Client& client = live.client->second;
  live.waits = false;
  if (const auto at = client.uncharged.find(id); at != client.uncharged.end()) {
    if (at != client.uncharged.begin()) {  // cancelled, or let in before others of its client: those behind move up
      for (auto behind = std::next(at); behind != client.uncharged.end(); ++behind) behind->second->start -= live.input_tokens;
      client.end -= live.input_tokens;
    }
    client.uncharged.erase(at);
  }
  if (--client.waiting > 0) return;
  waiting_.erase(&client);
  last_ = &client;
}

void Vtc::on_new(const Sequence& seq) {
  const std::string& name = seq.request->client;
  const auto [client, is_new] = clients_.try_emplace(name);
  if (is_new) {
    const auto weight = weights_.find(name);
    if (weight != weights_.end()) client->second.weight = weight->second;
  }
  ++client->second.live;
  const bool is_fork = seq.sample != 0 || seq.output_tokens() > 0;  // its prompt is its parent's, charged already
  Live& live = live_[seq.id] = {client, is_fork ? 0 : seq.prompt_tokens()};
  if (seq.state != Sequence::State::waiting) return;  // a fork may run at once
  join(live);
  if (live.input_tokens == 0) return;
  live.start = client->second.end;
  client->second.end += live.input_tokens;
  client->second.uncharged.emplace(seq.id, &live);
}

void Vtc::on(const Event& event) {
  const auto it = live_.find(event.seq);
  if (it == live_.end()) return;
  Live& live = it->second;
  Client& client = live.client->second;
  switch (event.kind) {
    case Event::Kind::admitted:
      leave(event.seq, live);
      client.counter += kInputWeight * live.input_tokens / client.weight;
      live.input_tokens = 0;  // what is computed again after a preemption is nobody's gain
      break;
    case Event::Kind::sampled: client.counter += kOutputWeight * event.tokens / client.weight; break;
    // Rows beside its own, by which reused KV is encoded and repaired: work as its input is.
    case Event::Kind::prepared: client.counter += kInputWeight * event.tokens / client.weight; break;
    case Event::Kind::preempted: join(live); break;
    case Event::Kind::finished:
      if (live.waits) leave(event.seq, live);
      --client.live;
      live_.erase(it);
      if (clients_.size() > sweep_at_) forget_idle();
      break;
    default: break;
  }
}

/// Clients without a request whose counters would be lifted anyway if they came back: the floor never falls.
void Vtc::forget_idle() {
  std::erase_if(clients_, [&, least = floor()](const auto& entry) {
    const Client& client = entry.second;
    return client.live == 0 && &client != last_ && client.counter <= least;
  });
  sweep_at_ = std::max(kManyClients, 2 * clients_.size());
}

}  // namespace sluice
