// NF4_G64, of our own: the NormalFloat of 4 bits of QLoRA (https://arxiv.org/abs/2305.14314) as bitsandbytes'
// checkpoints are repacked to. Blocks of 64: float32 scale, then 32 bytes, byte j holding elements 2 j (high) and 2 j +
// 1 (low): value = kNf4Values[code] * scale.

#include <cmath>
#include <cstring>

#include "quant/weight/block_search.h"
#include "quant/weight/value_tables.h"
#include "quant/weight/weight_format.h"

namespace sluice {
namespace {

constexpr int kElems = 64, kBytes = 36;

int nearest(float v) {
  int code = 0;
  while (code < 15 && 2 * v > kNf4Values[code] + kNf4Values[code + 1]) ++code;
  return code;
}

void encode(const float* values, void* blocks, int64_t n) {
  auto* out = static_cast<uint8_t*>(blocks);
  for (int64_t b = 0; b < n / kElems; ++b, values += kElems, out += kBytes) {
    float largest = 0;
    for (int i = 0; i < kElems; ++i) largest = std::fmax(largest, std::fabs(finite_or_zero(values[i])));
    const float inverse = largest > 0 ? 1 / largest : 0;
    std::memcpy(out, &largest, 4);
    for (int j = 0; j < 32; ++j)
      out[4 + j] = static_cast<uint8_t>(nearest(finite_or_zero(values[2 * j]) * inverse) << 4 |
                                        nearest(finite_or_zero(values[2 * j + 1]) * inverse));
  }
}

void decode(const void* blocks, float* values, int64_t n) {
  const auto* in = static_cast<const uint8_t*>(blocks);
  for (int64_t b = 0; b < n / kElems; ++b, values += kElems, in += kBytes) {
    float scale;
    std::memcpy(&scale, in, 4);
    for (int j = 0; j < 32; ++j) {
      values[2 * j] = kNf4Values[in[4 + j] >> 4] * scale;
      values[2 * j + 1] = kNf4Values[in[4 + j] & 15] * scale;
    }
  }
}

}  // namespace

const WeightFormat kNF4_G64 = {DType::nf4_g64, "NF4_G64", kElems, kBytes, encode, decode};

}  // namespace sluice
