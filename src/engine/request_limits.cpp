#include "engine/request_limits.h"

#include <algorithm>
#include <cmath>

namespace sluice {
namespace {
constexpr size_t kClients = 4096;     // known at once, before idle ones are forgotten
constexpr size_t kTurns = 256;        // that the rate of first tokens is measured over
constexpr double kQuantile = 0.95;
constexpr double kLongestRetry_s = 86'400;
}  // namespace

double RequestLimiter::filled(const Client& client, Nanos now) const {
  return std::min(burst(), client.tokens + limits_.client_token_rate * static_cast<double>(now - client.at) / 1e9);
}

/// A client with a full bucket and nothing in the queue is as one that never came.
void RequestLimiter::forget_idle(Nanos now) {
  std::erase_if(clients_, [&](const auto& entry) { return entry.second.waiting == 0 && filled(entry.second, now) >= burst(); });
}

double RequestLimiter::predicted_ttft_ms(Nanos now) const {
  if (room_ > 0) return 0;
  const Nanos elapsed = now - full_since_;
  const int ahead = without_token_ + 1;
  Nanos span = 0;
  int tokens = 0;
  for (const Turn& turn : turns_) span += turn.after, tokens += turn.tokens;
  // As long as it took before from where the server stands now.
  std::vector<double> waits;
  for (size_t i = 0; i < turns_.size(); ++i) {
    if (turns_[i].after <= elapsed) continue;
    double wait = static_cast<double>(turns_[i].after - elapsed);
    int came = turns_[i].tokens;
    for (size_t k = i + 1; k < turns_.size() && came < ahead; ++k) {
      wait += static_cast<double>(turns_[k].after);
      came += turns_[k].tokens;
    }
    if (came < ahead) wait += (ahead - came) * static_cast<double>(span) / tokens;
    waits.push_back(wait);
  }
  if (waits.empty()) {  // the next turn is overdue: what it has taken it may take again, and all turns after it too
    const double per_turn = turns_.empty() ? 1 : static_cast<double>(tokens) / static_cast<double>(turns_.size());
    return static_cast<double>(elapsed) * std::max(1.0, ahead / per_turn) / 1e6;
  }
  const size_t at = static_cast<size_t>(kQuantile * static_cast<double>(waits.size() - 1) + 0.5);
  std::ranges::nth_element(waits, waits.begin() + static_cast<std::ptrdiff_t>(at));
  return waits[at] / 1e6;
}

Status RequestLimiter::take(std::span<const Request> requests, Nanos now, double* retry_after_s) {
  const auto refuse = [&](uint64_t& counter, double seconds, std::string message) -> Status {
    ++counter;
    if (retry_after_s != nullptr) *retry_after_s = std::clamp(std::ceil(seconds), 1.0, kLongestRetry_s);
    return resource_exhausted(std::move(message));
  };
  // Of a trace, what it has waited for the step to end during which it came.
  const double waited_ms = requests[0].arrival > 0 ? static_cast<double>(now - requests[0].arrival) / 1e6 : 0;
  if (const double wait_ms = predicted_ttft_ms(now) + waited_ms; limits_.slo_ttft_ms > 0 && wait_ms > limits_.slo_ttft_ms)
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
  if (room_ > 0 && (room_ -= count) <= 0) full_since_ = now;
  return {};
}

void RequestLimiter::left_queue(const Request& request) {
  const auto it = clients_.find(request.client);
  if (it != clients_.end() && it->second.waiting > 0) --it->second.waiting;
}

void RequestLimiter::settled(int first_tokens, int ended, int room, Nanos now) {
  without_token_ -= first_tokens + ended;
  const bool was_full = room_ <= 0;
  room_ = std::max(0, room);
  if (was_full && first_tokens > 0) {
    if (turns_.size() == kTurns) turns_.erase(turns_.begin());
    turns_.push_back({now - full_since_, first_tokens});
  }
  if (room_ == 0 && (!was_full || first_tokens > 0)) full_since_ = now;
}

}  // namespace sluice
