#pragma once
// Workloads: when requests arrive, and how long they are. Known formats, told apart by their first line:
//   Azure LLM inference traces 2023 and 2024 (CSV: TIMESTAMP,ContextTokens,GeneratedTokens), Mooncake (JSON lines with
//   hash_ids of 512-token blocks), RTP-LLM replay shapes (JSON lines: ts, il, ol, bh), length lists (CSV:
//   num_prefill_tokens, ...).

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "sched/request.h"

namespace sluice {

struct TraceRequest {
  Nanos arrival = 0;  // from the start of the trace
  int prompt_tokens = 1, output_tokens = 1;
  std::vector<uint64_t> prefix_hashes;  // of successive prompt blocks: equal hashes are equal tokens
  int hash_block_tokens = 0;
  int priority = 0;
  std::string client;  // field client or user, where the trace has it
};

/// Reads a trace line by line. Arrivals are the file's own times, and an output length that it does not have is 0.
class TraceParser {
 public:
  /// Nothing for headers and empty lines. Errors begin with `where`.
  Result<std::optional<TraceRequest>> parse(const std::string& line, const std::string& where);

 private:
  int time_column_ = -1, prompt_column_ = -1, output_column_ = -1;  // of a CSV; -1: it has none
  size_t columns_ = 0;
};

/// All of a trace; what has no output length gets 1. Errors name the file and the line.
Result<std::vector<TraceRequest>> load_trace(const std::string& path);

/// Scaling to what a machine can do: keeps `limit` requests spread over the whole trace (0: all), multiplies lengths by
/// their scales (clipped to [1, max_tokens] together), and spaces arrivals so that they come at `request_rate` per second on
/// average with their own burstiness (0: the trace's own times; infinity: all at once).
struct TraceScale {
  int limit = 0;
  double length_scale = 1;         // of prompts, and of outputs unless they have their own
  double output_length_scale = 0;  // 0: length_scale
  int max_prompt_tokens = 0, max_output_tokens = 0;  // 0: unlimited
  double request_rate = 0;
};
void scale_lengths(TraceRequest& entry, const TraceScale& scale);
/// How many requests are kept of `n`, and which is the i-th of them.
inline size_t kept_of(size_t n, const TraceScale& scale) { return scale.limit > 0 ? std::min(n, static_cast<size_t>(scale.limit)) : n; }
inline size_t kept_index(size_t i, size_t n, size_t kept) { return i * n / kept; }
std::vector<TraceRequest> scale_trace(std::vector<TraceRequest> trace, const TraceScale& scale);

/// The request that stands for an entry: prompt tokens are made from the seed and the hashes, the output length is forced.
Request trace_request(const TraceRequest& entry, size_t index, uint64_t seed, int64_t vocab_size);

}  // namespace sluice
