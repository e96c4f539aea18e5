// IQ2_XS: blocks of 256; float16 d, 32 uint16, each a place in a grid of 512 points of 8 (9 bits) and seven signs (the
// eighth makes their number even), then 16 scales of 4 bits: value = (d * (0.5 + scale) / 4) * point.

#include "quant/weight/block_search.h"
#include "quant/weight/iq_grid.h"
#include "quant/weight/weight_format.h"

namespace sluice {
namespace {

constexpr int kElems = 256, kBytes = 74;

constexpr uint8_t kValues[] = {8, 25, 43};
#include "quant/weight/iq_grids.inc"
constexpr auto kGrid = grid_of<uint64_t, 512>(kIq2XsGrid, kValues, true);

void codes(const void* block, int8_t* codes, float* scales) {
  const auto* in = static_cast<const uint8_t*>(block);
  const float d = f16_to_f32(load_u16(in));
  for (int s = 0; s < 16; ++s)
    scales[s] = d * (0.5f + static_cast<float>(in[66 + s / 2] >> (4 * (s % 2)) & 15)) * 0.25f;
  for (int i = 0; i < 32; ++i) {
    const uint16_t q = load_u16(in + 2 + 2 * i);
    put_signed(kGrid[q & 511], kEvenSigns[q >> 9], codes + 8 * i);
  }
}

}  // namespace

const WeightFormat kIQ2_XS = {DType::iq2_xs, "IQ2_XS", kElems, kBytes, nullptr, decode_codes<codes, kElems, kBytes>,
                              nullptr,       codes};

}  // namespace sluice
