#pragma once
// Values of which a report wants the mean and percentiles: exact while they are few, a sketch of bounded size and error when
// they are many.

#include <cstddef>
#include <cstdint>
#include <vector>

namespace sluice {

struct Spread { double mean = 0, median = 0, std = 0, p50 = 0, p90 = 0, p95 = 0, p99 = 0; };
/// Percentiles interpolate linearly between order statistics, as numpy does.
Spread spread_of(std::vector<double> values);

/// Up to `most_exact` values are kept. Beyond, they are counted in buckets whose bounds grow by a factor, as in DDSketch (Masson, Rim
/// and Lee, VLDB 2019): every percentile is then within kError of the order statistics around it; the mean and the
/// deviation stay exact. Values are at least 0; those below 1e-6 count as 0 in a sketch.
class Samples {
 public:
  static constexpr double kError = 0.005;  // relative, of a sketch's percentiles
  static constexpr size_t kMostExact = size_t{1} << 17;  // 1 MB

  explicit Samples(size_t most_exact = kMostExact) : most_exact_(most_exact) {}
  void add(double value);
  /// As if the other's values had been added here.
  void merge(const Samples& other);

  uint64_t count() const { return count_; }
  bool exact() const { return counts_.empty(); }
  double max() const { return max_; }
  /// `p` from 0 to 100; 0 of nothing.
  double percentile(double p) const;
  Spread spread() const;

 private:
  void add_to_sketch(double value, uint64_t times);
  void turn_into_sketch();
  double order_statistic(uint64_t rank) const;

  size_t most_exact_;
  uint64_t count_ = 0;
  double mean_ = 0, squares_ = 0, min_ = 0, max_ = 0;  // squares_: of the distances from the mean (Welford)
  std::vector<double> values_;                         // while exact
  std::vector<uint64_t> counts_;                       // of bucket first_ + i, in a sketch
  int first_ = 0;
};

}  // namespace sluice
