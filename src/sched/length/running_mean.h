#pragma once
// A running mean of output lengths per client: the applications behind a server differ more than their prompts tell.
// Recent requests count more, and a client that is new is guessed by all the others' mean; before anything has ended,
// by max_tokens. An estimate changes the order of work alone.
// Source: the per-application estimates of Parrot (Lin et al., OSDI 2024) and of batch schedulers' run-time predictions (Tsafrir et al., 2007).

#include <algorithm>
#include <cmath>
#include <map>
#include <string>

#include "sched/policies.h"

namespace sluice {

class RunningMean final : public LengthPredictor {
 public:
  int predict(const Request& request) const override {
    const auto it = clients_.find(request.client);
    const Mean& mean = it == clients_.end() ? everyone_ : it->second;
    const int most = std::max(1, request.max_tokens);
    return mean.count == 0 ? most : std::clamp(static_cast<int>(std::lround(mean.tokens)), 1, most);
  }

  void on_new(const Sequence& seq) override {
    // The lines that a search drops end early, and say nothing about lengths.
    if (seq.request->beam_width == 0) running_.emplace(seq.id, seq.request->client);
  }
  void on(const Event& event) override {
    if (event.kind != Event::Kind::finished) return;
    const auto it = running_.find(event.seq);
    if (it == running_.end()) return;
    if (event.tokens > 0) {  // else it was cancelled before it had begun
      // Clients come and go: what is remembered of them is bounded.
      if (clients_.size() < kMostClients || clients_.contains(it->second)) clients_[it->second].add(event.tokens);
      everyone_.add(event.tokens);
    }
    running_.erase(it);
  }

 private:
  static constexpr size_t kMostClients = 10'000;
  struct Mean {
    double tokens = 0;
    int count = 0;
    void add(int n) {
      count = std::min(count + 1, 32);
      tokens += (n - tokens) / count;
    }
  };
  std::map<std::string, Mean> clients_;
  std::map<SeqId, std::string> running_;
  Mean everyone_;
};

}  // namespace sluice
