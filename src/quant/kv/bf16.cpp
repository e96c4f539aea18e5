// bf16: the upper half of a float32; encoding rounds to nearest even.

#include <cstring>

#include "quant/kv/kv_format.h"
#include "tensor/dtype.h"

namespace sluice {
namespace {

void encode(const float* x, int head_dim, uint8_t* row, uint8_t*) {
  for (int i = 0; i < head_dim; ++i) {
    const uint16_t bits = f32_to_bf16(x[i]);
    std::memcpy(row + 2 * i, &bits, 2);
  }
}

float decode(const uint8_t* row, const uint8_t*, int head_dim, float* x) {
  for (int i = 0; i < head_dim; ++i) {
    uint16_t bits;
    std::memcpy(&bits, row + 2 * i, 2);
    x[i] = bf16_to_f32(bits);
  }
  return 1;
}

}  // namespace

const KvFormat kKvBF16 = {KvType::bf16, "bf16", 16, 0, encode, decode};

}  // namespace sluice
