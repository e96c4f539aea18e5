// IQ3_S: blocks of 256; float16 d, 64 bytes of places in a grid of 512 points of 4, 8 bytes of the places' bit 8, 32
// bytes of signs, 8 scales of 4 bits: value = (d * (1 + 2 * scale)) * point.

#include "quant/weight/block_search.h"
#include "quant/weight/iq_grid.h"
#include "quant/weight/weight_format.h"

namespace sluice {
namespace {

constexpr int kElems = 256, kBytes = 110;

constexpr uint8_t kValues[] = {1, 3, 5, 7, 9, 11, 13, 15};
#include "quant/weight/iq_grids.inc"
constexpr auto kGrid = grid_of<uint32_t, 512>(kIq3SGrid, kValues, false);

void codes(const void* block, int8_t* codes, float* scales) {
  const auto* in = static_cast<const uint8_t*>(block);
  const float d = f16_to_f32(load_u16(in));
  for (int b = 0; b < 8; ++b) {
    scales[2 * b] = scales[2 * b + 1] = d * static_cast<float>(1 + 2 * (in[106 + b / 2] >> (4 * (b % 2)) & 15));
    const int top = in[66 + b];
    for (int i = 0; i < 4; ++i) {
      const uint8_t* at = in + 2 + 8 * b + 2 * i;
      const auto low = static_cast<size_t>(at[0] | (top >> (2 * i) & 1) << 8);
      const auto high = static_cast<size_t>(at[1] | (top >> (2 * i + 1) & 1) << 8);
      put_signed(kGrid[low] | uint64_t{kGrid[high]} << 32, in[74 + 4 * b + i], codes + 32 * b + 8 * i);
    }
  }
}

}  // namespace

const WeightFormat kIQ3_S = {DType::iq3_s, "IQ3_S", kElems, kBytes, nullptr, decode_codes<codes, kElems, kBytes>,
                             nullptr,      codes};

}  // namespace sluice
