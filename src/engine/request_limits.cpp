#include "engine/request_limits.h"

#include <algorithm>
#include <cmath>

namespace sluice {
namespace {
constexpr size_t kClients = 4096;     // known at once, before idle ones are forgotten
constexpr size_t kRateTokens = 64;    // first tokens that their rate is measured over
constexpr double kQuantile = 1.64;    // of the normal distribution, 95 %
constexpr size_t kLeastTokens = 8;    // before that many it is unknown
constexpr double kLongestRetry_s = 86'400;
}  // namespace

double RequestLimiter::filled(const Client& client, Nanos now) const {
  return std::min(burst(), client.tokens + limits_.client_token_rate * static_cast<double>(now - client.at) / 1e9);
}

/// A client with a full bucket and nothing in the queue is as one that never came.
void RequestLimiter::forget_idle(Nanos now) {
  std::erase_if(clients_, [&](const auto& entry) { return entry.second.waiting == 0 && filled(entry.second, now) >= burst(); });
}

double RequestLimiter::predicted_ttft_ms() const {
  if (without_token_ == 0 || first_tokens_.size() < kLeastTokens) return 0;
  const double span_ms = static_cast<double>(first_tokens_.back() - first_tokens_.front()) / 1e6;
  const double tokens = without_token_ + 1;
  return (tokens + kQuantile * std::sqrt(tokens)) * span_ms / static_cast<double>(first_tokens_.size() - 1);
}

Status RequestLimiter::take(std::span<const Request> requests, Nanos now, double* retry_after_s) {
  const auto refuse = [&](uint64_t& counter, double seconds, std::string message) -> Status {
    ++counter;
    if (retry_after_s != nullptr) *retry_after_s = std::clamp(std::ceil(seconds), 1.0, kLongestRetry_s);
    return resource_exhausted(std::move(message));
  };
  if (const double wait_ms = predicted_ttft_ms(); limits_.slo_ttft_ms > 0 && wait_ms > limits_.slo_ttft_ms)
    return refuse(refused.slo, (wait_ms - limits_.slo_ttft_ms) / 1e3,
                  fmt::format("the server is overloaded: a first token would take up to {:.1f} s, above the {:.1f} s that it "
                              "promises (--slo-ttft-ms); try again later or elsewhere",
                              wait_ms / 1e3, limits_.slo_ttft_ms / 1e3));
  const int count = static_cast<int>(requests.size());
  const bool by_client = limits_.client_token_rate > 0 || limits_.max_waiting_per_client > 0;
  if (by_client) {
    if (clients_.size() >= kClients) forget_idle(now);
    Client& client = clients_.try_emplace(requests[0].client, Client{burst(), now, 0}).first->second;
    if (limits_.max_waiting_per_client > 0 && client.waiting + count > limits_.max_waiting_per_client)
      return refuse(refused.client_queue, 1,
                    fmt::format("{} of your requests wait already, and one client may have {} that do (--max-waiting-per-client); "
                                "wait until {} of them ha{} begun",
                                client.waiting, limits_.max_waiting_per_client, client.waiting + count - limits_.max_waiting_per_client,
                                client.waiting + count - limits_.max_waiting_per_client == 1 ? "s" : "ve"));
    if (limits_.client_token_rate > 0) {
      double cost = 0;
      for (const Request& r : requests)
        cost += static_cast<double>(r.prompt.size()) + static_cast<double>(r.max_tokens) * r.lines();
      const double left = filled(client, now);
      // What is larger than the bucket passes when that is full, and leaves a debt.
      const double wanted = std::min(cost, burst());
      if (left < wanted) {
        const double seconds = (wanted - left) / limits_.client_token_rate;
        return refuse(refused.client_rate, seconds,
                      fmt::format("you may use {:g} tokens a second (--client-token-rate), and this request asks for {} by its "
                                  "prompt and max_tokens, {:.0f} more than you have left; try again in {:.0f} s or ask for less",
                                  limits_.client_token_rate, cost, wanted - left, std::ceil(seconds)));
      }
      client.tokens = left - cost;
      client.at = now;
    }
    client.waiting += count;
  }
  without_token_ += count;
  return {};
}

void RequestLimiter::left_queue(const Request& request) {
  const auto it = clients_.find(request.client);
  if (it != clients_.end() && it->second.waiting > 0) --it->second.waiting;
}

void RequestLimiter::started(bool got_token, Nanos now) {
  --without_token_;
  if (without_token_ == 0) {
    first_tokens_.clear();  // from here on their rate would be that of arrivals
  } else if (got_token) {
    if (first_tokens_.size() == kRateTokens) first_tokens_.erase(first_tokens_.begin());
    first_tokens_.push_back(now);
  }
}

}  // namespace sluice
