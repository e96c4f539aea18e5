// IQ2_XXS: blocks of 256; float16 d, then per 32 values 8 bytes: four places in a grid of 256 points of 8, then 32
// bits, seven signs for each point (the eighth makes their number even) and 4 bits of scale: value = (d * (0.5 + scale)
// / 4) * point.

#include "quant/weight/block_search.h"
#include "quant/weight/iq_grid.h"
#include "quant/weight/weight_format.h"

namespace sluice {
namespace {

constexpr int kElems = 256, kBytes = 66;

constexpr uint8_t kValues[] = {8, 25, 43};
#include "quant/weight/iq_grids.inc"
constexpr auto kGrid = grid_of<uint64_t, 256>(kIq2XxsGrid, kValues, true);

void codes(const void* block, int8_t* codes, float* scales) {
  const auto* in = static_cast<const uint8_t*>(block);
  const float d = f16_to_f32(load_u16(in));
  for (int b = 0; b < 8; ++b) {
    const uint8_t* at = in + 2 + 8 * b;
    const uint32_t signs = load_u32(at + 4);
    scales[2 * b] = scales[2 * b + 1] = d * (0.5f + static_cast<float>(signs >> 28)) * 0.25f;
    for (int i = 0; i < 4; ++i) put_signed(kGrid[at[i]], kEvenSigns[signs >> (7 * i) & 127], codes + 32 * b + 8 * i);
  }
}

}  // namespace

const WeightFormat kIQ2_XXS = {DType::iq2_xxs, "IQ2_XXS", kElems, kBytes, nullptr, decode_codes<codes, kElems, kBytes>,
                               nullptr,        codes};

}  // namespace sluice
