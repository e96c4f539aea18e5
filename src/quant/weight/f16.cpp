// F16: IEEE 754 half precision; encoding rounds to nearest even.

#include <cstring>

#include "quant/weight/weight_format.h"

namespace sluice {
namespace {

void encode(const float* values, void* blocks, int64_t n) {
  auto* out = static_cast<uint8_t*>(blocks);
  for (int64_t i = 0; i < n; ++i) {
    const uint16_t bits = f32_to_f16(values[i]);
    std::memcpy(out + 2 * i, &bits, 2);
  }
}

void decode(const void* blocks, float* values, int64_t n) {
  const auto* in = static_cast<const uint8_t*>(blocks);
  for (int64_t i = 0; i < n; ++i) {
    uint16_t bits;
    std::memcpy(&bits, in + 2 * i, 2);
    values[i] = f16_to_f32(bits);
  }
}

}  // namespace

const WeightFormat kF16 = {DType::f16, "F16", 1, 2, encode, decode, nullptr};

}  // namespace sluice
