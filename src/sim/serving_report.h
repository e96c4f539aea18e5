#pragma once
// What a load test prints: vLLM's fields and JSON keys, computed from one record per request. The benchmarks of the real
// server, of the engine offline, and the simulator all report through this.

#include <cstdint>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "sim/samples.h"

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
  double percentile_error = 0;      // relative, where there were too many latencies to keep them all; 0: exact
  std::vector<std::string> errors;  // the first of each kind

  std::string to_text() const;
  std::string to_json() const;
};

/// Makes a report of requests that need not be kept: what it holds does not grow with them, but for latencies up to
/// `most_exact` of each kind, beyond which Samples sketches their percentiles.
class ReportBuilder {
 public:
  explicit ReportBuilder(const GoodputLimits& limits, size_t most_exact = Samples::kMostExact)
      : limits_(limits), ttft_(most_exact), tpot_(most_exact), itl_(most_exact), e2el_(most_exact) {}

  /// A request came, or was due (its arrival, less what held it back); before its add().
  void arrived(Nanos due);
  /// It has ended, well or not.
  void add(const RequestRecord& record);
  /// `duration_ns` <= 0: from the first arrival to the last token.
  ServingReport report(Nanos duration_ns = 0) const;

 private:
  GoodputLimits limits_;
  Samples ttft_, tpot_, itl_, e2el_;  // ms
  ServingReport totals_;              // completed, failed, tokens and errors so far
  int64_t arrivals_ = 0, good_ = 0;
  Nanos first_due_ = INT64_MAX, last_due_ = INT64_MIN, first_arrival_ = INT64_MAX, last_token_ = 0;
  std::vector<Nanos> late_first_tokens_;  // those after last_due_
};

/// `duration_ns` <= 0: from the first arrival to the last token. Exact.
ServingReport make_report(const std::vector<RequestRecord>& records, const GoodputLimits& limits, Nanos duration_ns = 0);

}  // namespace sluice
