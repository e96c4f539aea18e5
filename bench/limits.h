#pragma once
// The machine's limits for a microbenchmark's pool, measured once: every kernel is reported as a share of what binds
// it.

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <string>

#include "apps/bench/roofline.h"
#include "backend/op_meter.h"

namespace sluice {

inline const Roofline& limits_of(const OpTable& table, ThreadPool& pool) {
  static std::map<std::string, Roofline> known;
  auto [entry, fresh] = known.try_emplace(std::string(table.isa) + "/" + std::to_string(pool.size()));
  if (fresh) {
    entry->second = measure_roofline(table, pool);
    std::fprintf(stderr, "%s: %s", std::string(table.isa).c_str(), to_text(entry->second).c_str());
  }
  return entry->second;
}

/// Adds GB/s, GOP/s and the share of the roofline (1: the limit) of a benchmark that does `work` once per iteration;
/// returns what binds.
inline std::string report(benchmark::State& state, const OpWork& work, const Roofline& r) {
  using benchmark::Counter;
  const double peak = r.peak(work.arithmetic);
  const double memory_s = work.bytes / (r.memory_gbps * 1e9),
               arithmetic_s = peak > 0 ? work.operations / (peak * 1e9) : 0;
  state.counters["GB/s"] = Counter(work.bytes * 1e-9, Counter::kIsIterationInvariantRate);
  state.counters["GOP/s"] = Counter(work.operations * 1e-9, Counter::kIsIterationInvariantRate);
  state.counters["of_roofline"] = Counter(std::max(memory_s, arithmetic_s), Counter::kIsIterationInvariantRate);
  if (memory_s >= arithmetic_s) return "memory";
  return name_of(work.arithmetic);
}

}  // namespace sluice
