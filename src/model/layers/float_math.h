#pragma once
// Functions of float32 that the compiler can turn into vector code in a loop, and that are the same everywhere.

#include <bit>
#include <cmath>
#include <cstdint>

namespace sluice {

/// e^x to about 1 ulp; below -87.3 it is e^-87.3, and above 88.3 e^88.3. (Cody and Waite's reduction to |r| <= ln(2) / 2, and
/// Cephes' polynomial.)
inline float exp_of(float x) {
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it leaves an integer in the low bits
  x = x < -87.3f ? -87.3f : x;
  x = x > 88.3f ? 88.3f : x;
  const float t = x * 1.44269504f + kRound, n = t - kRound;
  const float r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  return p * std::bit_cast<float>((std::bit_cast<uint32_t>(t) << 23) + 0x3f800000u);
}

inline float sigmoid_of(float x) { return 1.0f / (1.0f + exp_of(-x)); }

/// ln(1 + e^x); x above 20, where the two are the same float.
inline float softplus_of(float x) { return x > 20.0f ? x : std::log1p(std::exp(x)); }

}  // namespace sluice
