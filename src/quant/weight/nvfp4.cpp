// NVFP4 in ggml's layout: blocks of 64; four scales, floats of 8 bits without a sign (E4M3, bias 7; 127 stands for 0),
// then for each 16 values 8 bytes of 4-bit floats (E2M1), byte j holding elements j (low) and j + 8 (high): value =
// (scale / 2) * kE2M1Doubled[code].

#include <cmath>

#include "quant/weight/value_tables.h"
#include "quant/weight/weight_format.h"

namespace sluice {
namespace {

constexpr int kElems = 64, kBytes = 36;

float half_scale(uint8_t bits) {
  const int exponent = bits >> 3 & 15, mantissa = bits & 7;
  if (bits == 127) return 0;
  return exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -10)
                       : std::ldexp(static_cast<float>(8 + mantissa), exponent - 11);
}

void codes(const void* block, int8_t* codes, float* scales) {
  const auto* in = static_cast<const uint8_t*>(block);
  for (int s = 0; s < 4; ++s) {
    scales[s] = half_scale(in[s]);
    for (int j = 0; j < 8; ++j) {
      const uint8_t byte = in[4 + 8 * s + j];
      codes[16 * s + j] = kE2M1Doubled[byte & 15];
      codes[16 * s + j + 8] = kE2M1Doubled[byte >> 4];
    }
  }
}

}  // namespace

const WeightFormat kNVFP4 = {DType::nvfp4, "NVFP4", kElems, kBytes, nullptr, decode_codes<codes, kElems, kBytes>,
                             nullptr,      codes};

}  // namespace sluice
