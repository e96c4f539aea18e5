#include "backend/int8_rows.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace sluice {

float round_to_int8(float* x, int64_t k) {
  float largest = 1e-5f;
  bool finite = true;
  for (int64_t i = 0; i < k; ++i) {
    largest = std::max(largest, std::fabs(x[i]));
    finite = finite && std::isfinite(x[i]);
  }
  if (!finite) {
    std::fill_n(x, k, 0.0f);
    return std::numeric_limits<float>::quiet_NaN();
  }
  const float inverse = 127.0f / largest;
  constexpr float kHalves = 0x1.8p23f;  // added and taken away, it leaves what is nearest of whole numbers below 2^22
  for (int64_t i = 0; i < k; ++i) x[i] = std::clamp((x[i] * inverse + kHalves) - kHalves, -127.0f, 127.0f);
  return largest / 127.0f;
}

void arrange_int8(const float* q, const float* steps, int64_t k, int rows, ActBlock* out) {
  for (int64_t b = 0; b < k / kActBlock; ++b)
    for (int r = 0; r < rows; ++r, ++out) {
      const float* const in = q + r * k + b * kActBlock;
      int32_t sum[2] = {};
      for (int i = 0; i < kActBlock; ++i) {
        out->q[i] = static_cast<int8_t>(in[i]);
        sum[i / 16] += out->q[i];
      }
      out->scale = steps[r];
      out->scaled_sum = steps[r] * static_cast<float>(sum[0] + sum[1]);
      out->bias = -128 * (sum[0] + sum[1]);
      out->bias_lo = -128 * sum[0];
    }
}

}  // namespace sluice
