#pragma once
// What the experiments of scheduling measure of some of a run's requests, and loads made of several kinds of requests.

#include <algorithm>
#include <functional>
#include <numeric>

#include "lab/workloads.h"

namespace sluice::lab {

inline constexpr double kMs = 1e6;  // in nanoseconds

/// Requests of the load, by their place in it.
using Which = std::function<bool(const Request&)>;
inline bool everyone(const Request&) { return true; }

/// `of(record, place)` of each request of that kind, in the order of the load.
template <class Of>
std::vector<double> each(const Load& load, const Which& which, Of of) {
  std::vector<double> values;
  for (size_t i = 0; i < load.requests.size(); ++i)
    if (which(load.requests[i])) values.push_back(of(i));
  return values;
}
inline Spread ttft_ms(const Run& run, const Load& load, const Which& which = everyone) {
  return spread_of(each(load, which, [&](size_t i) { return static_cast<double>(run.records[i].ttft()) / kMs; }));
}
inline Spread e2e_ms(const Run& run, const Load& load, const Which& which = everyone) {
  return spread_of(each(load, which, [&](size_t i) { return static_cast<double>(run.records[i].e2e()) / kMs; }));
}
/// From arrival to the first admission.
inline Spread wait_ms(const Run& run, const Load& load, const Which& which = everyone) {
  return spread_of(each(load, which, [&](size_t i) { return static_cast<double>(run.waited[i]) / kMs; }));
}
inline double longest_wait_ms(const Run& run, const Load& load, const Which& which = everyone) {
  const auto waits = each(load, which, [&](size_t i) { return static_cast<double>(run.waited[i]) / kMs; });
  return waits.empty() ? 0 : *std::ranges::max_element(waits);
}

/// Both, in the order of arrival.
inline Load merged(const Load& a, const Load& b) {
  std::vector<std::pair<Nanos, const Request*>> all;
  for (const Load* load : {&a, &b})
    for (size_t i = 0; i < load->requests.size(); ++i)
      all.emplace_back(load->arrivals.empty() ? 0 : load->arrivals[i], &load->requests[i]);
  std::ranges::stable_sort(all, {}, &std::pair<Nanos, const Request*>::first);
  Load out;
  for (const auto& [at, request] : all) {
    out.arrivals.push_back(at);
    out.requests.push_back(*request);
  }
  return out;
}

}  // namespace sluice::lab
