// F8_E4M3 and F8_E5M2, as safetensors holds them: a byte a value, without a scale.

#include "quant/weight/float8.h"

#include <array>
#include <cmath>
#include <limits>

#include "quant/weight/weight_format.h"

namespace sluice {
namespace {

std::array<float, 256> all_e4m3() {
  std::array<float, 256> values{};
  for (int code = 0; code < 256; ++code) {
    const int exponent = code >> 3 & 15, mantissa = code & 7;
    float value = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -9)
                                : std::ldexp(static_cast<float>(8 + mantissa), exponent - 10);
    if ((code & 127) == 127) value = std::numeric_limits<float>::quiet_NaN();
    values[static_cast<size_t>(code)] = std::copysign(value, code < 128 ? 1.0f : -1.0f);
  }
  return values;
}

// The upper byte of a float16.
std::array<float, 256> all_e5m2() {
  std::array<float, 256> values{};
  for (unsigned code = 0; code < 256; ++code) values[code] = f16_to_f32(static_cast<uint16_t>(code << 8));
  return values;
}

template <const float* (*kValues)()>
void decode(const void* blocks, float* values, int64_t n) {
  const auto* in = static_cast<const uint8_t*>(blocks);
  const float* const of = kValues();
  for (int64_t i = 0; i < n; ++i) values[i] = of[in[i]];
}

}  // namespace

const float* e4m3_values() {
  static const std::array<float, 256> values = all_e4m3();
  return values.data();
}

const float* e5m2_values() {
  static const std::array<float, 256> values = all_e5m2();
  return values.data();
}

uint8_t f32_to_e4m3(float value) {
  const uint8_t sign = std::signbit(value) ? 0x80 : 0;
  if (std::isnan(value)) return sign | 0x7f;
  const float magnitude = std::fmin(std::fabs(value), 448.0f);
  if (magnitude < 0x1p-6f)
    return sign | static_cast<uint8_t>(std::nearbyint(magnitude * 512.0f));  // subnormal, or the first normal
  int exponent;
  const float fraction = std::frexp(magnitude, &exponent);                 // in [1/2, 1)
  const int eighths = static_cast<int>(std::nearbyint(fraction * 16.0f));  // 8 to 16, which carries into the exponent
  return sign | static_cast<uint8_t>((exponent + 6) * 8 + (eighths - 8));
}

const WeightFormat kF8_E4M3 = {DType::f8_e4m3, "F8_E4M3", 1, 1, nullptr, decode<e4m3_values>};
const WeightFormat kF8_E5M2 = {DType::f8_e5m2, "F8_E5M2", 1, 1, nullptr, decode<e5m2_values>};

}  // namespace sluice
