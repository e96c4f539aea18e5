// int4: x = scale * q, |q| <= 7, with one float32 scale per token and KV head, for keys and values each: 36 bytes for 64
// dims, from f16's 128. Dim 2 i stands in the low four bits of byte i, as q + 8. Approximate: off by at most half a
// scale, so by 1/14 of the row's largest value. (int8.cpp with four bits; the per-token, symmetric baseline of KIVI, Liu
// et al., ICML 2024, section 3.)

#include <cmath>
#include <cstring>
#include <limits>

#include "quant/kv/kv_format.h"
#include "quant/kv/row_peak.h"

namespace sluice {
namespace {

void encode(const float* x, int head_dim, uint8_t* row, uint8_t* side) {
  const auto [largest, finite] = RowPeak(x, head_dim);
  const float scale = finite ? largest / 7.0f : std::numeric_limits<float>::quiet_NaN();
  const float inverse = !finite || largest < kLeastRowPeak ? 0.0f : 7.0f / largest;
  const auto code = [&, finite = finite](int i) { return i < head_dim && finite ? static_cast<int>(std::nearbyint(x[i] * inverse)) + 8 : 9; };
  for (int i = 0; i < head_dim; i += 2) row[i / 2] = static_cast<uint8_t>(code(i) | code(i + 1) << 4);
  std::memcpy(side, &scale, sizeof scale);
}

float decode(const uint8_t* row, const uint8_t* side, int head_dim, float* x) {
  float scale;
  std::memcpy(&scale, side, sizeof scale);
  for (int i = 0; i < head_dim; ++i) x[i] = static_cast<float>((row[i / 2] >> i % 2 * 4 & 15) - 8);
  return scale;
}

}  // namespace

const KvFormat kKvInt4 = {KvType::int4, "int4", 4, sizeof(float), encode, decode};

}  // namespace sluice
