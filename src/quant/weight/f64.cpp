// F64: rounded to float32 where it is read.

#include <cstring>

#include "quant/weight/weight_format.h"

namespace sluice {
namespace {

void encode(const float* values, void* blocks, int64_t n) {
  auto* out = static_cast<uint8_t*>(blocks);
  for (int64_t i = 0; i < n; ++i) {
    const double value = values[i];
    std::memcpy(out + 8 * i, &value, 8);
  }
}

void decode(const void* blocks, float* values, int64_t n) {
  const auto* in = static_cast<const uint8_t*>(blocks);
  for (int64_t i = 0; i < n; ++i) {
    double value;
    std::memcpy(&value, in + 8 * i, 8);
    values[i] = static_cast<float>(value);
  }
}

}  // namespace

const WeightFormat kF64 = {DType::f64, "F64", 1, 8, encode, decode};

}  // namespace sluice
