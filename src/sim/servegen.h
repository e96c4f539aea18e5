#pragma once
// ServeGen's client mixes (Xiang et al., "ServeGen: Workload Characterization and Generation of Large Language Model Serving in
// Production", NSDI 2026): a directory of chunk-N-trace.csv and chunk-N-dataset.json, one pair a client. The CSV has a line
// for each window of a day: start in s, requests per second, coefficient of variation of the gaps, their distribution (Gamma or
// Weibull), and its shape and scale; the JSON has, for longer windows, how often each input and output length was seen. A
// workload is the sum of the clients, each with its own rate, burstiness and lengths.

#include <memory>
#include <string>

#include "sim/trace_stream.h"

namespace sluice {

bool is_servegen(const std::string& path);
/// The first `scale.limit` requests (0: a day of them). `scale.request_rate` is that of the whole day: every client's rates are multiplied by the
/// same. Lengths are the clients' own; the caller scales them.
Result<std::unique_ptr<TraceStream>> open_servegen(const std::string& directory, const TraceScale& scale, uint64_t seed);

}  // namespace sluice
