#pragma once
// What may enter the queue: a rate of tokens and a share of the queue per client, and only who is likely to get its first
// token in time. Refusing early keeps the goodput of an overloaded server at its capacity: those who are let in are served
// within their limit, and nobody's work is done too late.
// Sources: token buckets (Turner, 1986); early rejection by predicted latency (Qin et al., Mooncake, FAST 2025, section 7).

#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "sched/request.h"

namespace sluice {

struct RequestLimits {
  double client_token_rate = 0;    // --client-token-rate: prompt and max_tokens of one client, per second; 0: unlimited
  static constexpr double kLeastRate = 0.001;  // of a client that is limited: 86 tokens a day
  double client_token_burst = 0;   // --client-token-burst: how many at once; 0: those of a minute
  int max_waiting_per_client = 0;  // --max-waiting-per-client; 0: unlimited
  double slo_ttft_ms = 0;          // --slo-ttft-ms: refuse whom the first token would reach later; 0: nobody
};

/// How many requests were refused, by the reason.
struct RefusedRequests {
  uint64_t queue_full = 0, client_rate = 0, client_queue = 0, slo = 0;
};

/// Not thread-safe: the engine asks under its lock.
class RequestLimiter {
 public:
  explicit RequestLimiter(RequestLimits limits) : limits_(limits) {}

  /// Takes all of a client's requests that came together, or none of them: refuses with resource_exhausted: why, and what to do. `retry_after_s`: when, if refused; from
  /// a second to a day.
  Status take(std::span<const Request> requests, Nanos now, double* retry_after_s);
  Status take(const Request& request, Nanos now, double* retry_after_s) { return take(std::span(&request, 1), now, retry_after_s); }
  /// A request that was taken: it was admitted, or has ended before it was.
  void left_queue(const Request& request);
  /// A step has ended: `first_tokens` requests got their first token in it, `ended` others have ended without one, and
  /// there is room for as many more to run; for none where some had to stay in the queue.
  void settled(int first_tokens, int ended, int room, Nanos now);

  /// The wait for a first token, of one that came now, which 19 of 20 stay below: until the last turns had brought those
  /// ahead and one more their first tokens, from each that took longer than the present one has. 0 while there is room.
  double predicted_ttft_ms(Nanos now) const;
  RefusedRequests refused;

 private:
  struct Client {
    double tokens = 0;  // left in its bucket at `at`; below 0 after a request larger than the bucket
    Nanos at = 0;
    int waiting = 0;
  };
  double burst() const { return limits_.client_token_burst > 0 ? limits_.client_token_burst : 60 * limits_.client_token_rate; }
  double filled(const Client& client, Nanos now) const;
  void forget_idle(Nanos now);

  const RequestLimits limits_;
  std::unordered_map<std::string, Client> clients_;
  int without_token_ = 0;
  /// A step that brought first tokens while there was no room.
  struct Turn {
    Nanos after = 0;  // the one before, or after there was room
    int tokens = 0;
  };
  int room_ = 0;             // places since the last step, less those that were taken
  Nanos full_since_ = 0;     // where there is none: the last turn, or when the last place was taken
  std::vector<Turn> turns_;  // the last ones
};

}  // namespace sluice
