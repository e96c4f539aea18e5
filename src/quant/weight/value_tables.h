#pragma once
// The formats whose 4-bit codes stand for values in a table. Plain data, which kernel files may include
// (docs/architecture.md, section 5).

#include <cstdint>

namespace sluice {

/// IQ4_NL, ascending.
constexpr int8_t kIq4NlValues[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

/// MXFP4's floats of 4 bits (sign, 2 bits of exponent, 1 of mantissa), times 2.
constexpr int8_t kE2M1Doubled[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

/// NF4: the quantiles of the normal distribution of QLoRA's appendix E, ascending.
constexpr float kNf4Values[16] = {-1.0f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f, -0.28444138169288635f,
                                  -0.18477343022823334f, -0.09105003625154495f, 0.0f, 0.07958029955625534f, 0.16093020141124725f,
                                  0.24611230194568634f, 0.33791524171829224f, 0.44070982933044434f, 0.5626170039176941f,
                                  0.7229568362236023f, 1.0f};

}  // namespace sluice
