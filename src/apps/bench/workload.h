#pragma once
// What a load test sends: a trace scaled to the machine, or random requests, with arrivals. Shared by the offline
// benchmark, the simulator and the load generator.

#include <memory>
#include <string>
#include <vector>

#include "base/options.h"
#include "sched/request.h"
#include "sim/serving_report.h"
#include "sim/trace_stream.h"

namespace sluice {

/// --max-waiting of a benchmark: a workload is not refused because it comes all at once.
constexpr int kEveryRequest = 1 << 24;

/// Of one request, prompt and output: above the longest contexts of models, and few enough to be held.
constexpr int kMostRequestTokens = 1 << 24;

struct WorkloadFlags {
  std::string trace;
  int trace_repeat = 1;
  std::string output_lengths;
  int num_prompts = 100;
  int input_len = 128, output_len = 64;  // of random requests
  int prefix_len = 0;                    // shared by all random requests
  double range_ratio = 0;                // random lengths spread over [1 - r, 1 + r] x the length
  double length_scale = 1, output_length_scale = 0;
  int max_input_len = 0, max_output_len = 0;
  std::string request_rate = "inf";  // per second; "inf": all at once; "trace": the trace's own times
  double burstiness = 1;             // 1: Poisson; gamma shape otherwise, as vLLM's
  uint64_t seed = 0;
  std::string goodput_text;
  GoodputLimits goodput;  // parsed from goodput_text by check()

  void declare(OptionSet& options);
  /// Refuses flags that were given and have no effect beside the others.
  Status check_given(const OptionSet& options) const;
  /// Every flag by itself and with the others; fills in `goodput`.
  Status check();
};

/// The requests of a workload one after the other, in order of arrival, their tokens made as they are asked for. Greedy, with
/// forced lengths, prompt tokens drawn from the vocabulary; the arrival is that of the request, counted from 0.
class RequestStream {
 public:
  /// Reads the whole stream once, to measure it; refuses requests above kMostRequestTokens.
  static Result<std::unique_ptr<RequestStream>> open(WorkloadFlags& flags, int64_t vocab_size);

  bool next(Request& request);
  struct Extent { int64_t requests = 0; int longest = 0; };  // most tokens of one request, with its output
  const Extent& extent() const { return extent_; }

 private:
  std::unique_ptr<TraceStream> entries_;
  Extent extent_;
  uint64_t seed_ = 0;
  int64_t vocab_size_ = 0;
  size_t index_ = 0;
};

struct Workload {
  std::vector<Request> requests;  // greedy, with forced lengths
  std::vector<Nanos> arrivals;    // ascending from 0
};
/// All of a stream. Also parses `goodput_text` into `flags.goodput`.
Result<Workload> make_workload(WorkloadFlags& flags, int64_t vocab_size);

}  // namespace sluice
