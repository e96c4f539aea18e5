#pragma once
// Traces as streams: entries in order of arrival, read or made as they are asked for, so that a trace of a million requests takes
// no more memory than one of ten.

#include <memory>
#include <optional>
#include <string>

#include "sim/length_distribution.h"
#include "sim/trace.h"

namespace sluice {

struct TraceStream {
  virtual ~TraceStream() = default;
  /// False at the end. Arrivals count from the first and do not fall.
  virtual bool next(TraceRequest& entry) = 0;
  /// To the first entry again: the same ones follow.
  virtual void rewind() = 0;
};

struct StreamOptions {
  TraceScale scale;
  int repeat = 1;  // how many times the trace is played, each after the other's last arrival
  std::optional<LengthDistribution> output_lengths;  // where the trace has none; they are scaled as its own
  uint64_t seed = 0;                                 // of what is drawn
};

/// A trace file, or a directory of ServeGen's clients (sim/servegen.h). All of a file is read once to check it; one that is not in
/// order of time is held in memory. `output_lengths` must be given where
/// the trace does not say of some request how long its output was (0 or no such field), and only there.
Result<std::unique_ptr<TraceStream>> open_trace(const std::string& path, const StreamOptions& options);

struct RandomRequests {
  int64_t requests = 100;
  int input_tokens = 128, output_tokens = 64;
  int prefix_tokens = 0;   // shared by all, before their own
  double range_ratio = 0;  // lengths spread over [1 - r, 1 + r] x the length
  double rate = 0;         // per second; infinity: all at once
  double burstiness = 1;   // shape of gamma-distributed gaps; 1: Poisson
};
/// Output lengths are drawn from `output_lengths` where given; of the scale only its limits of prompts and outputs hold.
std::unique_ptr<TraceStream> random_trace(const RandomRequests& shape, const StreamOptions& options);

}  // namespace sluice
