// TQ1_0: blocks of 256; 48 bytes of five ternary digits each, 4 bytes of four, then float16 d: value = d * (digit - 1).
// A byte is its digits as a fraction of 243 rounded up to one of 256, the first digit largest, so that a digit is read
// by a multiplication.

#include <algorithm>
#include <cmath>
#include <cstring>

#include "quant/weight/block_search.h"
#include "quant/weight/weight_format.h"

namespace sluice {
namespace {

constexpr int kElems = 256, kBytes = 54;

// Bytes whose digits of one place stand for consecutive elements.
struct Part {
  int byte, bytes, elem, digits;
};
constexpr Part kParts[] = {{0, 32, 0, 5}, {32, 16, 160, 5}, {48, 4, 240, 4}};

// As ggml rounds: by the largest value.
void encode(const float* values, void* blocks, int64_t n) {
  auto* out = static_cast<uint8_t*>(blocks);
  for (int64_t b = 0; b < n / kElems; ++b, values += kElems, out += kBytes) {
    float largest = 0;
    for (int i = 0; i < kElems; ++i) largest = std::max(largest, std::fabs(finite_or_zero(values[i])));
    const float inverse = largest > 0 ? 1.0f / largest : 0.0f;
    uint8_t q[kElems];
    for (int i = 0; i < kElems; ++i)
      q[i] = static_cast<uint8_t>(round_clamped(finite_or_zero(values[i]) * inverse, -1, 1) + 1);
    std::memset(out, 0, kBytes);
    for (const Part& part : kParts)
      for (int i = 0; i < part.bytes; ++i) {
        int whole = 0;
        for (int digit = 0; digit < 5; ++digit)
          whole = 3 * whole + (digit < part.digits ? q[part.elem + digit * part.bytes + i] : 0);
        out[part.byte + i] = static_cast<uint8_t>((whole * 256 + 242) / 243);
      }
    store_u16(out + kBytes - 2, scale_to_f16(largest));
  }
}

void codes(const void* block, int8_t* codes, float* scales) {
  const auto* in = static_cast<const uint8_t*>(block);
  const float d = f16_to_f32(load_u16(in + 52));
  for (int s = 0; s < 16; ++s) scales[s] = d;
  for (const Part& part : kParts) {
    int power = 1;
    for (int digit = 0; digit < part.digits; ++digit, power *= 3)
      for (int i = 0; i < part.bytes; ++i) {
        const auto rest = static_cast<uint8_t>(in[part.byte + i] * power);
        codes[part.elem + digit * part.bytes + i] = static_cast<int8_t>((rest * 3 >> 8) - 1);
      }
  }
}

}  // namespace

const WeightFormat kTQ1_0 = {DType::tq1_0, "TQ1_0", kElems, kBytes, encode, decode_codes<codes, kElems, kBytes>,
                             nullptr,      codes};

}  // namespace sluice
