// f32: the values as they are.

#include <cstring>

#include "quant/kv/kv_format.h"

namespace sluice {
namespace {

void encode(const float* x, int head_dim, uint8_t* row, uint8_t*) {
  std::memcpy(row, x, static_cast<size_t>(head_dim) * 4);
}

float decode(const uint8_t* row, const uint8_t*, int head_dim, float* x) {
  std::memcpy(x, row, static_cast<size_t>(head_dim) * 4);
  return 1;
}

}  // namespace

const KvFormat kKvF32 = {KvType::f32, "f32", 32, 0, encode, decode};

}  // namespace sluice
