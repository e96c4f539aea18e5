// IQ1_S: blocks of 256; float16 d, 32 bytes of places in a grid of 2048 points of 8 values -1, 0 and 1, then per 32
// values a uint16: 3 more bits for each of four places, 3 bits of scale, and the sign of a shift: value = (d * (2 *
// scale + 1)) * (point ± 1/8).

#include "quant/weight/block_search.h"
#include "quant/weight/iq1_grid.h"
#include "quant/weight/weight_format.h"

namespace sluice {
namespace {

constexpr int kElems = 256, kBytes = 50;

void codes(const void* block, int8_t* codes, float* scales) {
  const auto* in = static_cast<const uint8_t*>(block);
  const float d = f16_to_f32(load_u16(in));
  for (int b = 0; b < 8; ++b) {
    const uint16_t qh = load_u16(in + 34 + 2 * b);
    scales[2 * b] = scales[2 * b + 1] = d * static_cast<float>(2 * (qh >> 12 & 7) + 1) * 0.125f;
    for (int i = 0; i < 4; ++i)
      put_shifted(in[2 + 4 * b + i] | (qh >> (3 * i) & 7) << 8, (qh & 0x8000) != 0, codes + 32 * b + 8 * i);
  }
}

}  // namespace

const WeightFormat kIQ1_S = {DType::iq1_s, "IQ1_S", kElems, kBytes, nullptr, decode_codes<codes, kElems, kBytes>,
                             nullptr,      codes};

}  // namespace sluice
