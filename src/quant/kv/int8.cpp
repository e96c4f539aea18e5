// int8: x = scale * q, |q| <= 127, with one float32 scale per token and KV head, for keys and values each: half of f16
// and 4 bytes (68 for 64 dims, from 128). Scales stand in the side stream, so that 16 of them are one cache line and
// the rows keep whole ones. Approximate: off by at most half a scale, so by 1/254 of the row's largest value. (One
// scale per token, found as it comes, as ZeroQuant, Yao et al. 2022, has for activations.)

#include <cmath>
#include <cstring>
#include <limits>

#include "quant/kv/kv_format.h"
#include "quant/kv/row_peak.h"

namespace sluice {
namespace {

void encode(const float* x, int head_dim, uint8_t* row, uint8_t* side) {
  const auto [largest, finite] = RowPeak(x, head_dim);
  float scale = largest / 127.0f;
  if (!finite) {
    scale = std::numeric_limits<float>::quiet_NaN();
    std::memset(row, 1, static_cast<size_t>(head_dim));
  } else {
    const float inverse = largest < kLeastRowPeak ? 0.0f : 127.0f / largest;
    for (int i = 0; i < head_dim; ++i) row[i] = static_cast<uint8_t>(static_cast<int>(std::nearbyint(x[i] * inverse)));
  }
  std::memcpy(side, &scale, sizeof scale);
}

float decode(const uint8_t* row, const uint8_t* side, int head_dim, float* x) {
  float scale;
  std::memcpy(&scale, side, sizeof scale);
  for (int i = 0; i < head_dim; ++i) x[i] = static_cast<float>(static_cast<int8_t>(row[i]));
  return scale;
}

}  // namespace

const KvFormat kKvInt8 = {KvType::int8, "int8", 8, sizeof(float), encode, decode};

}  // namespace sluice
