#pragma once
// What the formats with one scale per row ask of a row first.

#include <algorithm>
#include <cmath>

namespace sluice {

struct RowPeak {
  float largest = 0;  // of the magnitudes
  bool finite = true;

  RowPeak(const float* x, int n) {
    for (int i = 0; i < n; ++i) {
      finite &= std::isfinite(x[i]);
      largest = std::max(largest, std::fabs(x[i]));
    }
  }
};

/// Rows of smaller values are zero: the inverse of their scale would overflow.
inline constexpr float kLeastRowPeak = 0x1p-100f;

}  // namespace sluice
