#pragma once
// The benchmarks: one file and one line in bench.cpp each.

#include <string>
#include <vector>

#include "apps/command.h"

namespace sluice {

/// The values of a list flag: whole numbers of at least `low`.
Result<std::vector<int>> parse_numbers(const std::vector<std::string>& texts, const char* flag, int low);

Result<int> bench_latency(const std::vector<std::string>& args);
Result<int> bench_throughput(const std::vector<std::string>& args);
Result<int> bench_serve(const std::vector<std::string>& args);
Result<int> bench_roofline(const std::vector<std::string>& args);
Result<int> bench_kv_disk(const std::vector<std::string>& args);
Result<int> bench_calibrate(const std::vector<std::string>& args);
Result<int> bench_fidelity(const std::vector<std::string>& args);
Result<int> bench_batching(const std::vector<std::string>& args);
Result<int> bench_attention(const std::vector<std::string>& args);
Result<int> bench_quality(const std::vector<std::string>& args);

}  // namespace sluice
