#pragma once
// Shared by Q4_K and Q5_K: super-blocks of 256 in 8 blocks of 32, value = (d * scale) * q - dmin * min.

#include <cstdint>

namespace sluice {

struct AffineSuper {
  uint16_t d, dmin;  // float16 bits
  uint8_t scale[8], min[8];  // of 6 bits
  uint8_t q[256];
};

/// 256 values (those that are not finite count as 0) with integers 0 <= q <= levels.
AffineSuper search_affine_super(const float* values, int levels);

/// The 12 bytes of scales and minimums. Bytes 0-3: scales 0-3 below, the top bits of scales 4-7 above; 4-7: the same for
/// the minimums; 8-11: the low nibbles of scales 4-7 and minimums 4-7.
void pack_scales(const uint8_t* scale, const uint8_t* min, uint8_t* s);
void unpack_scales(const uint8_t* s, uint8_t* scale, uint8_t* min);

}  // namespace sluice
