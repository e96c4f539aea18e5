#pragma once
// Values over time in at most kMost bins of equal width, which doubles when time goes on: what is held does not grow with
// the length of a run.

#include <algorithm>
#include <vector>

#include "base/ids.h"

namespace sluice {

/// A Bin has merge(const Bin&) and is made empty.
template <class Bin>
class TimeBins {
 public:
  static constexpr size_t kMost = 240;

  Bin& at(Nanos t) {
    while (static_cast<size_t>(t / width_) >= kMost) {
      for (size_t i = 0; i < bins_.size(); ++i)
        if (i % 2 == 1) bins_[i / 2].merge(bins_[i]);
        else if (i > 0) bins_[i / 2] = std::move(bins_[i]);
      bins_.resize((bins_.size() + 1) / 2);
      width_ *= 2;
    }
    const size_t bin = static_cast<size_t>(t / width_);
    if (bin >= bins_.size()) bins_.resize(bin + 1);
    return bins_[bin];
  }

  const std::vector<Bin>& bins() const { return bins_; }
  /// The middle of a bin, in seconds.
  double second(size_t bin) const { return (static_cast<double>(bin) + 0.5) * static_cast<double>(width_) / 1e9; }

 private:
  Nanos width_ = 1'000'000;
  std::vector<Bin> bins_;
};

}  // namespace sluice
