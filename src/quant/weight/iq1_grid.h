#pragma once
// The grid of 2048 points that ggml's IQ1_S and IQ1_M share.

#include "quant/weight/iq_grid.h"

namespace sluice {
namespace {

// Eight times -1, 0 and 1, 128 too large; a step of 1 is then the eighth by which points are shifted.
constexpr uint8_t kValues[] = {120, 128, 136};
#include "quant/weight/iq_grids.inc"
constexpr auto kGrid = grid_of<uint64_t, 2048>(kIq1Grid, kValues, true);

void put_shifted(int place, bool down, int8_t* codes) {
  const uint64_t point = kGrid[static_cast<size_t>(place)];
  const uint64_t bytes = (down ? point - kEachByte : point + kEachByte) ^ (0x80 * kEachByte);
  std::memcpy(codes, &bytes, 8);
}

}  // namespace
}  // namespace sluice
