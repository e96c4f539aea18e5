// IQ1_M: blocks of 256; 32 bytes of places in IQ1_S's grid, then for each 8 values 4 bits: 3 more of the place and the
// sign of a shift; then four uint16, which hold float16 d in their top nibbles and below them four scales of 3 bits
// each: value = (d * (2 * scale + 1)) * (point ± 1/8).

#include "quant/weight/block_search.h"
#include "quant/weight/iq1_grid.h"
#include "quant/weight/weight_format.h"

namespace sluice {
namespace {

constexpr int kElems = 256, kBytes = 56;

void codes(const void* block, int8_t* codes, float* scales) {
  const auto* in = static_cast<const uint8_t*>(block);
  unsigned bits = 0;
  for (int i = 0; i < 4; ++i) bits |= static_cast<unsigned>(load_u16(in + 48 + 2 * i) >> 12) << (4 * i);
  const float d = f16_to_f32(static_cast<uint16_t>(bits));
  for (int s = 0; s < 16; ++s)
    scales[s] = d * static_cast<float>(2 * (load_u16(in + 48 + 2 * (s / 4)) >> (3 * (s % 4)) & 7) + 1) * 0.125f;
  for (int i = 0; i < 32; ++i) {
    const int more = in[32 + i / 2] >> (4 * (i % 2));
    put_shifted(in[i] | (more & 7) << 8, (more & 8) != 0, codes + 8 * i);
  }
}

}  // namespace

const WeightFormat kIQ1_M = {DType::iq1_m, "IQ1_M", kElems, kBytes, nullptr, decode_codes<codes, kElems, kBytes>,
                             nullptr,      codes};

}  // namespace sluice
