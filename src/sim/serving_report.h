#pragma once
// What a load test prints: vLLM's fields and JSON keys, computed from one record per request. The benchmarks of the real
// server, of the engine offline, and the simulator all report through this.

#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"

namespace sluice {

struct RequestRecord {
  Nanos arrival = 0;  // when it was sent: latencies count from here
  std::vector<Nanos> token_times;  // when each output token was there, or each piece of text that a server sent
  int prompt_tokens = 0;
  int output_tokens = 0;           // as the server counts them; 0: one per entry of token_times
  bool ok = false;
  std::string error;
  Nanos held = 0;                  // how long a limit of concurrency held it back before it was sent

  Nanos ttft() const { return token_times.front() - arrival; }
  Nanos e2e() const { return token_times.back() - arrival; }
  int outputs() const { return output_tokens > 0 ? output_tokens : static_cast<int>(token_times.size()); }
  /// (E2E - TTFT) / (tokens - 1); 0 for one token.
  double tpot() const {
    return outputs() > 1 ? static_cast<double>(token_times.back() - token_times.front()) / (outputs() - 1) : 0;
  }
};

struct GoodputLimits {
  double ttft_ms = 0, tpot_ms = 0, e2el_ms = 0;  // 0: no limit
  bool any() const { return ttft_ms > 0 || tpot_ms > 0 || e2el_ms > 0; }
};

struct Spread { double mean = 0, median = 0, std = 0, p50 = 0, p90 = 0, p95 = 0, p99 = 0; };
/// Percentiles interpolate linearly between order statistics, as numpy does.
Spread spread_of(std::vector<double> values);

struct ServingReport {
  double duration_s = 0;
  int completed = 0, failed = 0;
  int64_t total_input = 0, total_output = 0;
  double request_throughput = 0, output_throughput = 0, total_token_throughput = 0, request_goodput = 0;
  bool has_goodput = false;
  double arrival_rate = 0;          // requests per second that came between the first and the last; 0: all at once
  int waiting_at_last_arrival = 0;  // of the completed ones, those that had no token yet
  bool overloaded = false;          // what arrived was more than was served: latencies grow with the length of the run
  Spread ttft_ms, tpot_ms, itl_ms, e2el_ms;
  std::vector<std::string> errors;  // the first of each kind

  std::string to_text() const;
  std::string to_json() const;
};
/// `duration_ns` <= 0: from the first arrival to the last token.
ServingReport make_report(const std::vector<RequestRecord>& records, const GoodputLimits& limits, Nanos duration_ns = 0);

}  // namespace sluice
