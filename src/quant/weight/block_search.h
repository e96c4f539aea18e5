#pragma once
// Shared by the block formats' encoders: the best integers and scale for a few values, by weighted least squares.

#include <cmath>
#include <cstdint>
#include <cstring>

#include "tensor/dtype.h"

namespace sluice {

/// round(value), ties away from zero, clamped to [lo, hi]; NaN becomes lo.
inline int round_clamped(float value, int lo, int hi) {
  if (!(value > static_cast<float>(lo))) return lo;
  if (value >= static_cast<float>(hi)) return hi;
  return static_cast<int>(std::lround(value));
}

/// value, or 0 where it is not finite.
inline float finite_or_zero(float value) { return std::isfinite(value) ? value : 0.0f; }

/// The nearest float16 with overflow held at its largest finite value, so that a scale never becomes infinite.
inline uint16_t scale_to_f16(float value) { return f32_to_f16(std::fmin(std::fmax(value, -65504.0f), 65504.0f)); }

inline uint16_t load_u16(const uint8_t* at) {
  uint16_t v;
  std::memcpy(&v, at, 2);
  return v;
}
inline void store_u16(uint8_t* at, uint16_t v) { std::memcpy(at, &v, 2); }

/// x[i] ~ scale * q[i], lo <= q <= hi (|lo| >= hi), weighted by x[i]^2: tries several scales around the one that maps the
/// largest value to lo, each improved by least squares. Returns the scale (0 for all-zero x).
float search_symmetric(const float* x, int n, int lo, int hi);

/// The place of the value nearest to v in an ascending table of `codes` values, a power of two; 0 for NaN.
inline int nearest_code(float v, const int8_t* table, int codes) {
  int code = 0;
  for (int step = codes / 2; step > 0; step /= 2)
    if (2 * v >= static_cast<float>(table[code + step - 1] + table[code + step])) code += step;
  return code;
}

/// The same for x[i] ~ scale * table[code[i]], of an ascending table of 16 values with a negative and a positive end.
float search_table(const float* x, int n, const int8_t* table);

struct ScaleMin { float scale, min; };
enum class MinSign : uint8_t { positive, any };
/// x[i] ~ scale * q[i] - min, 0 <= q <= levels, scale >= 0 (and min >= 0, unless it may be any), weighted by rms(x) + |x[i]|.
ScaleMin search_affine(const float* x, int n, int levels, MinSign sign = MinSign::positive);

}  // namespace sluice
