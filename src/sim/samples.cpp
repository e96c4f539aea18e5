#include "sim/samples.h"

#include <algorithm>
#include <cmath>

namespace sluice {
namespace {

constexpr double kLeast = 1e-6;
const double kLogGrowth = std::log((1 + Samples::kError) / (1 - Samples::kError));
/// Bucket i > kZeroBucket holds values in (g^(i - 1), g^i] x kLeast.
constexpr int kZeroBucket = 0;

int bucket_of(double value) {
  return value < kLeast ? kZeroBucket : 1 + static_cast<int>(std::ceil(std::log(value / kLeast) / kLogGrowth));
}

/// The value that is equally far, relatively, from both bounds of the bucket.
double value_of(int bucket) {
  return bucket == kZeroBucket ? 0 : kLeast * std::exp(kLogGrowth * (bucket - 1)) * (1 - Samples::kError);
}

}  // namespace

Spread spread_of(std::vector<double> values) {
  Spread s;
  if (values.empty()) return s;
  std::sort(values.begin(), values.end());
  for (const double v : values) s.mean += v;
  s.mean /= static_cast<double>(values.size());
  for (const double v : values) s.std += (v - s.mean) * (v - s.mean);
  s.std = std::sqrt(s.std / static_cast<double>(values.size()));
  auto percentile = [&](double p) {
    const double at = p / 100 * static_cast<double>(values.size() - 1);
    const size_t low = static_cast<size_t>(at), high = std::min(low + 1, values.size() - 1);
    return values[low] + (at - static_cast<double>(low)) * (values[high] - values[low]);
  };
  s.median = s.p50 = percentile(50);
  s.p90 = percentile(90);
  s.p95 = percentile(95);
  s.p99 = percentile(99);
  return s;
}

void Samples::add(double value) {
  min_ = count_ == 0 ? value : std::min(min_, value);
  max_ = std::max(max_, value);
  ++count_;
  const double from_mean = value - mean_;
  mean_ += from_mean / static_cast<double>(count_);
  squares_ += from_mean * (value - mean_);
  if (!exact()) return add_to_sketch(value, 1);
  values_.push_back(value);
  if (values_.size() > most_exact_) turn_into_sketch();
}

void Samples::add_to_sketch(double value, uint64_t times) {
  const int bucket = bucket_of(value);
  if (counts_.empty()) first_ = bucket;
  if (bucket < first_) {
    counts_.insert(counts_.begin(), static_cast<size_t>(first_ - bucket), 0);
    first_ = bucket;
  }
  const size_t at = static_cast<size_t>(bucket - first_);
  if (at >= counts_.size()) counts_.resize(at + 1, 0);
  counts_[at] += times;
}

void Samples::turn_into_sketch() {
  const std::vector<double> values = std::move(values_);
  values_ = {};
  for (const double v : values) add_to_sketch(v, 1);
}

void Samples::merge(const Samples& other) {
  if (other.count_ == 0) return;
  const double n = static_cast<double>(count_), m = static_cast<double>(other.count_), apart = other.mean_ - mean_;
  min_ = count_ == 0 ? other.min_ : std::min(min_, other.min_);
  max_ = std::max(max_, other.max_);
  count_ += other.count_;
  mean_ += apart * m / (n + m);
  squares_ += other.squares_ + apart * apart * n * m / (n + m);
  if (exact() && other.exact()) {
    values_.insert(values_.end(), other.values_.begin(), other.values_.end());
    if (values_.size() > most_exact_) turn_into_sketch();
    return;
  }
  if (exact()) turn_into_sketch();
  for (const double v : other.values_) add_to_sketch(v, 1);
  for (size_t i = 0; i < other.counts_.size(); ++i)
    if (other.counts_[i] > 0) add_to_sketch(value_of(other.first_ + static_cast<int>(i)), other.counts_[i]);
}

double Samples::order_statistic(uint64_t rank) const {
  uint64_t below = 0;
  for (size_t i = 0; i < counts_.size(); ++i)
    if ((below += counts_[i]) > rank) return std::clamp(value_of(first_ + static_cast<int>(i)), min_, max_);
  return max_;
}

double Samples::percentile(double p) const {
  if (count_ == 0) return 0;
  const double at = p / 100 * static_cast<double>(count_ - 1);
  const uint64_t low = static_cast<uint64_t>(at), high = std::min(low + 1, count_ - 1);
  double a, b;
  if (exact()) {
    std::vector<double> values = values_;
    std::ranges::nth_element(values, values.begin() + static_cast<std::ptrdiff_t>(low));
    a = values[low];
    b = high == low ? a : *std::min_element(values.begin() + static_cast<std::ptrdiff_t>(high), values.end());
  } else {
    a = order_statistic(low);
    b = order_statistic(high);
  }
  return a + (at - static_cast<double>(low)) * (b - a);
}

Spread Samples::spread() const {
  if (exact()) return spread_of(values_);
  Spread s;
  s.mean = mean_;
  s.std = std::sqrt(squares_ / static_cast<double>(count_));
  s.median = s.p50 = percentile(50);
  s.p90 = percentile(90);
  s.p95 = percentile(95);
  s.p99 = percentile(99);
  return s;
}

}  // namespace sluice
