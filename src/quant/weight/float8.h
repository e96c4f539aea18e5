#pragma once
// Floats of 8 bits, as the Open Compute Project defines them (OFP8): E4M3 without infinities, E5M2 with.

#include <cstdint>

#include "tensor/dtype.h"

namespace sluice {

/// The value of each of the 256 codes.
const float* e4m3_values();
const float* e5m2_values();

/// The nearest E4M3, ties to even, held at ±448; NaN stays NaN.
uint8_t f32_to_e4m3(float value);

}  // namespace sluice
