#pragma once
// How kvquant3 (kvquant.cpp) sees a vector, for the test that trains its centroids.

#include <cstdint>
#include <span>
#include <vector>

namespace sluice {

/// n values that lie `stride` apart, without the 1 % whose absence leaves the smallest range.
struct KvQuantVector {
  std::vector<int> outliers;
  uint16_t centre_bits, radius_bits;
  float centre, radius;  // as float16 has them; what is left lies in centre +- radius. NaN where a value is not finite

  KvQuantVector(const float* x, int n, int64_t stride);
};
/// Of keys (0) and values (1), ascending.
std::span<const float, 8> kvquant_centroids(bool keys);

}  // namespace sluice
