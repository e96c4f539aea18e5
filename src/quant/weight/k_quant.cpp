#include "quant/weight/k_quant.h"

#include <algorithm>

#include "quant/weight/block_search.h"

namespace sluice {

void unpack_scales(const uint8_t* s, uint8_t* scale, uint8_t* min) {
  for (int j = 0; j < 4; ++j) {
    scale[j] = s[j] & 63;
    min[j] = s[j + 4] & 63;
    scale[j + 4] = static_cast<uint8_t>((s[j + 8] & 15) | (s[j] >> 6) << 4);
    min[j + 4] = static_cast<uint8_t>((s[j + 8] >> 4) | (s[j + 4] >> 6) << 4);
  }
}

void pack_scales(const uint8_t* scale, const uint8_t* min, uint8_t* s) {
  for (int j = 0; j < 4; ++j) {
    s[j] = static_cast<uint8_t>(scale[j] | (scale[j + 4] >> 4) << 6);
    s[j + 4] = static_cast<uint8_t>(min[j] | (min[j + 4] >> 4) << 6);
    s[j + 8] = static_cast<uint8_t>((scale[j + 4] & 15) | (min[j + 4] & 15) << 4);
  }
}

AffineSuper search_affine_super(const float* values, int levels) {
  float x[256];
  for (int i = 0; i < 256; ++i) x[i] = finite_or_zero(values[i]);
  ScaleMin found[8];
  float top_scale = 0, top_min = 0;
  for (int j = 0; j < 8; ++j) {
    found[j] = search_affine(x + 32 * j, 32, levels);
    top_scale = std::max(top_scale, found[j].scale);
    top_min = std::max(top_min, found[j].min);
  }
  AffineSuper out;
  out.d = scale_to_f16(top_scale / 63);
  out.dmin = scale_to_f16(top_min / 63);
  const float d = f16_to_f32(out.d), dmin = f16_to_f32(out.dmin);
  for (int j = 0; j < 8; ++j) {
    out.scale[j] = d > 0 ? static_cast<uint8_t>(round_clamped(found[j].scale / d, 0, 63)) : 0;
    out.min[j] = dmin > 0 ? static_cast<uint8_t>(round_clamped(found[j].min / dmin, 0, 63)) : 0;
    // The integers that are best for the scale and minimum as stored.
    const float s = d * out.scale[j], m = dmin * out.min[j];
    for (int i = 32 * j; i < 32 * j + 32; ++i)
      out.q[i] = s > 0 ? static_cast<uint8_t>(round_clamped((x[i] + m) / s, 0, levels)) : 0;
  }
  return out;
}

}  // namespace sluice
