#pragma once
// The formats whose 4-bit codes stand for values in a table. Plain data, which kernel files may include
// (docs/architecture.md, section 5).

#include <cstdint>

namespace sluice {

/// IQ4_NL, ascending.
constexpr int8_t kIq4NlValues[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

/// MXFP4's floats of 4 bits (sign, 2 bits of exponent, 1 of mantissa), times 2.
constexpr int8_t kE2M1Doubled[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

}  // namespace sluice
