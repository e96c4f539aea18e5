// fp8: E4M3 of the OCP's 8-bit floating point (Micikevicius et al., FP8 Formats for Deep Learning, 2022): 4 bits of exponent,
// 3 of mantissa, no infinities, as vLLM's fp8_e4m3 KV cache without scales. Half of f16. Approximate: off by at most
// 1/16 of the value (2^-10 below 2^-6); what is beyond 448 becomes 448.

#include <algorithm>
#include <cmath>
#include <cstring>

#include "quant/kv/kv_format.h"

namespace sluice {
namespace {

constexpr uint8_t kNan = 0x7f, kLargest = 0x7e;

uint8_t fp8_of(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  const uint8_t sign = static_cast<uint8_t>(bits >> 24 & 0x80);
  const float size = std::fabs(x);
  if (!std::isfinite(x)) return static_cast<uint8_t>(sign | kNan);
  if (size >= 464.0f) return static_cast<uint8_t>(sign | kLargest);  // halfway to the next, which would be 480
  if (size < 0x1p-6f) return static_cast<uint8_t>(sign | static_cast<uint8_t>(std::nearbyint(size * 512.0f)));
  bits &= 0x7fffffff;
  bits = (bits + 0x7ffff + (bits >> 20 & 1)) >> 20;  // to nearest even; a carry raises the exponent
  return static_cast<uint8_t>(sign | (bits - ((127 - 7) << 3)));
}

float of_fp8(uint8_t byte) {
  const int exponent = byte >> 3 & 15, mantissa = byte & 7;
  const float size = (byte & 0x7f) == kNan ? NAN
                     : exponent == 0       ? std::ldexp(static_cast<float>(mantissa), -9)
                                           : std::ldexp(static_cast<float>(8 + mantissa), exponent - 10);
  return byte & 0x80 ? -size : size;
}

void encode(const float* x, int head_dim, uint8_t* row, uint8_t*) {
  for (int i = 0; i < head_dim; ++i) row[i] = fp8_of(x[i]);
}

float decode(const uint8_t* row, const uint8_t*, int head_dim, float* x) {
  for (int i = 0; i < head_dim; ++i) x[i] = of_fp8(row[i]) / kFp8Factor;
  return kFp8Factor;
}

}  // namespace

const KvFormat kKvFp8 = {KvType::fp8, "fp8", 8, 0, encode, decode};

}  // namespace sluice
