// F32: as is.

#include <cstring>

#include "quant/weight/weight_format.h"

namespace sluice {
namespace {

void encode(const float* values, void* blocks, int64_t n) { std::memcpy(blocks, values, static_cast<size_t>(n) * 4); }
void decode(const void* blocks, float* values, int64_t n) { std::memcpy(values, blocks, static_cast<size_t>(n) * 4); }

}  // namespace

const WeightFormat kF32 = {DType::f32, "F32", 1, 4, encode, decode, nullptr};

}  // namespace sluice
