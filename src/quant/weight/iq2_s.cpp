// IQ2_S: blocks of 256; float16 d, 32 bytes of places in a grid of 1024 points of 8, 32 bytes of signs, 8 bytes of the
// places' bits 8 and 9, 16 scales of 4 bits: value = (d * (0.5 + scale) / 4) * point.

#include "quant/weight/block_search.h"
#include "quant/weight/iq_grid.h"
#include "quant/weight/weight_format.h"

namespace sluice {
namespace {

constexpr int kElems = 256, kBytes = 82;

constexpr uint8_t kValues[] = {8, 25, 43};
#include "quant/weight/iq_grids.inc"
constexpr auto kGrid = grid_of<uint64_t, 1024>(kIq2SGrid, kValues, true);

void codes(const void* block, int8_t* codes, float* scales) {
  const auto* in = static_cast<const uint8_t*>(block);
  const float d = f16_to_f32(load_u16(in));
  for (int s = 0; s < 16; ++s)
    scales[s] = d * (0.5f + static_cast<float>(in[74 + s / 2] >> (4 * (s % 2)) & 15)) * 0.25f;
  for (int i = 0; i < 32; ++i) {
    const int place = in[2 + i] | (in[66 + i / 4] >> (2 * (i % 4)) & 3) << 8;
    put_signed(kGrid[static_cast<size_t>(place)], in[34 + i], codes + 8 * i);
  }
}

}  // namespace

const WeightFormat kIQ2_S = {DType::iq2_s, "IQ2_S", kElems, kBytes, nullptr, decode_codes<codes, kElems, kBytes>,
                             nullptr,      codes};

}  // namespace sluice
