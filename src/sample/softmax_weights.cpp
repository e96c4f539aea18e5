#include "sample/softmax_weights.h"

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace sluice {

// exp(x) = 2^n exp(r), |r| <= ln(2) / 2, with ln(2) in two parts (Cody and Waite, 1980) and exp(r) as a polynomial.
// Small results are masked by integers, since a comparison of floats would keep the compiler from making vectors of the
// loop.
void softmax_weights(std::span<const float> logits, float top, float inverse_temperature, std::span<float> weights) {
  constexpr float kLog2e = 0x1.715476p+0f, kLn2High = 0x1.62e4p-1f, kLn2Low = 0x1.7f7d1cp-20f;
  constexpr float kRound = 0x1.8p23f;  // adding it leaves the nearest whole number in the low bits
  constexpr int32_t kFarthest = std::bit_cast<int32_t>(87.0f);
  const float* z = logits.data();
  float* w = weights.data();
  for (size_t i = 0; i < logits.size(); ++i) {
    const int32_t bits = std::bit_cast<int32_t>((z[i] - top) * inverse_temperature);
    const int32_t keep = (bits & 0x7fffffff) < kFarthest ? -1 : 0;
    const float x = std::bit_cast<float>(bits & keep);
    const float shifted = x * kLog2e + kRound, n = shifted - kRound;
    const float r = (x - n * kLn2High) - n * kLn2Low;
    float p = 1.0f / 5040;
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    const uint32_t scaled = std::bit_cast<uint32_t>(p) + (std::bit_cast<uint32_t>(shifted) << 23);
    w[i] = std::bit_cast<float>(static_cast<int32_t>(scaled) & keep);
  }
}

double sum_of(std::span<const float> weights) {
  std::array<double, 8> lanes{};
  size_t i = 0;
  for (; i + lanes.size() <= weights.size(); i += lanes.size())
    for (size_t lane = 0; lane < lanes.size(); ++lane) lanes[lane] += static_cast<double>(weights[i + lane]);
  for (; i < weights.size(); ++i) lanes[0] += static_cast<double>(weights[i]);
  double sum = 0;
  for (const double lane : lanes) sum += lane;
  return sum;
}

}  // namespace sluice
