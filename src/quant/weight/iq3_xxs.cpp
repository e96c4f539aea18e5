// IQ3_XXS: blocks of 256; float16 d, 64 places in a grid of 256 points of 4, then per 32 values 32 bits: seven signs
// for each 8 (the eighth makes their number even) and 4 bits of scale: value = (d * (0.5 + scale) / 2) * point.

#include "quant/weight/block_search.h"
#include "quant/weight/iq_grid.h"
#include "quant/weight/weight_format.h"

namespace sluice {
namespace {

constexpr int kElems = 256, kBytes = 98;

constexpr uint8_t kValues[] = {4, 12, 20, 28, 36, 44, 52, 62};
#include "quant/weight/iq_grids.inc"
constexpr auto kGrid = grid_of<uint32_t, 256>(kIq3XxsGrid, kValues, false);

void codes(const void* block, int8_t* codes, float* scales) {
  const auto* in = static_cast<const uint8_t*>(block);
  const float d = f16_to_f32(load_u16(in));
  for (int b = 0; b < 8; ++b) {
    const uint8_t* at = in + 2 + 8 * b;
    const uint32_t signs = load_u32(in + 66 + 4 * b);
    scales[2 * b] = scales[2 * b + 1] = d * (0.5f + static_cast<float>(signs >> 28)) * 0.5f;
    for (int i = 0; i < 4; ++i) {
      const uint64_t points = kGrid[at[2 * i]] | uint64_t{kGrid[at[2 * i + 1]]} << 32;
      put_signed(points, kEvenSigns[signs >> (7 * i) & 127], codes + 32 * b + 8 * i);
    }
  }
}

}  // namespace

const WeightFormat kIQ3_XXS = {DType::iq3_xxs, "IQ3_XXS", kElems, kBytes, nullptr, decode_codes<codes, kElems, kBytes>,
                               nullptr,        codes};

}  // namespace sluice
