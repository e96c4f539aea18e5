// Q4_K: super-blocks of 256 in 8 blocks of 32; float16 d and dmin, 12 bytes of 6-bit scales and minimums, 128 bytes of
// 4-bit values: value = (d * scale) * q - dmin * min.

#include <algorithm>

#include "quant/weight/block_search.h"
#include "quant/weight/weight_format.h"

namespace sluice {
namespace {

constexpr int kElems = 256, kBytes = 144, kSubs = 8;

// Bytes 0-3: scales 0-3 below, the top bits of scales 4-7 above; 4-7: the same for the minimums; 8-11: the low nibbles of
// scales 4-7 and minimums 4-7.
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

void encode(const float* values, void* blocks, int64_t n) {
  auto* out = static_cast<uint8_t*>(blocks);
  for (int64_t b = 0; b < n / kElems; ++b, values += kElems, out += kBytes) {
    float x[kElems];
    for (int i = 0; i < kElems; ++i) x[i] = finite_or_zero(values[i]);
    ScaleMin found[kSubs];
    float top_scale = 0, top_min = 0;
    for (int j = 0; j < kSubs; ++j) {
      found[j] = search_affine(x + 32 * j, 32, 15);
      top_scale = std::max(top_scale, found[j].scale);
      top_min = std::max(top_min, found[j].min);
    }
    const uint16_t d_bits = scale_to_f16(top_scale / 63), dmin_bits = scale_to_f16(top_min / 63);
    const float d = f16_to_f32(d_bits), dmin = f16_to_f32(dmin_bits);
    uint8_t scale[kSubs], min[kSubs], q[kElems];
    for (int j = 0; j < kSubs; ++j) {
      scale[j] = d > 0 ? static_cast<uint8_t>(round_clamped(found[j].scale / d, 0, 63)) : 0;
      min[j] = dmin > 0 ? static_cast<uint8_t>(round_clamped(found[j].min / dmin, 0, 63)) : 0;
      // The integers that are best for the scale and minimum as stored.
      const float s = d * scale[j], m = dmin * min[j];
      for (int i = 32 * j; i < 32 * j + 32; ++i)
        q[i] = s > 0 ? static_cast<uint8_t>(round_clamped((x[i] + m) / s, 0, 15)) : 0;
    }
    store_u16(out, d_bits);
    store_u16(out + 2, dmin_bits);
    pack_scales(scale, min, out + 4);
    for (int c = 0; c < 4; ++c)
      for (int i = 0; i < 32; ++i)
        out[16 + 32 * c + i] = static_cast<uint8_t>(q[64 * c + i] | q[64 * c + 32 + i] << 4);
  }
}

void decode(const void* blocks, float* values, int64_t n) {
  const auto* in = static_cast<const uint8_t*>(blocks);
  for (int64_t b = 0; b < n / kElems; ++b, values += kElems, in += kBytes) {
    const float d = f16_to_f32(load_u16(in)), dmin = f16_to_f32(load_u16(in + 2));
    uint8_t scale[kSubs], min[kSubs];
    unpack_scales(in + 4, scale, min);
    for (int c = 0; c < 4; ++c) {
      const float s0 = d * scale[2 * c], m0 = dmin * min[2 * c];
      const float s1 = d * scale[2 * c + 1], m1 = dmin * min[2 * c + 1];
      const uint8_t* qs = in + 16 + 32 * c;
      for (int i = 0; i < 32; ++i) {
        values[64 * c + i] = s0 * static_cast<float>(qs[i] & 15) - m0;
        values[64 * c + 32 + i] = s1 * static_cast<float>(qs[i] >> 4) - m1;
      }
    }
  }
}

void unpack(const void* block, QuantBlock* out) {
  const auto* in = static_cast<const uint8_t*>(block);
  out->d = load_u16(in);
  out->dmin = load_u16(in + 2);
  unpack_scales(in + 4, out->scale, out->min);
  for (int c = 0; c < 4; ++c)
    for (int i = 0; i < 32; ++i) {
      out->q[64 * c + i] = in[16 + 32 * c + i] & 15;
      out->q[64 * c + 32 + i] = in[16 + 32 * c + i] >> 4;
    }
}

}  // namespace

const WeightFormat kQ4_K = {DType::q4_k, "Q4_K", kElems, kBytes, encode, decode, unpack};

}  // namespace sluice
