// Q2_K: super-blocks of 256 in 16 blocks of 16; 16 bytes with a scale (low nibble) and a minimum (high) each, 64 bytes of
// 2-bit values, float16 d and dmin: value = (d * scale) * q - dmin * min.

#include <algorithm>

#include "quant/weight/block_search.h"
#include "quant/weight/weight_format.h"

namespace sluice {
namespace {

constexpr int kElems = 256, kBytes = 84, kSubs = 16;
constexpr int kValues = 16, kD = 80, kDmin = 82;  // byte offsets

// Element 128 h + 32 p + i (p < 4, i < 32) stands at bit 2 p of byte 32 h + i.
int value_at(const uint8_t* in, int e) { return in[kValues + 32 * (e / 128) + e % 32] >> (2 * (e / 32 % 4)) & 3; }

void encode(const float* values, void* blocks, int64_t n) {
  auto* out = static_cast<uint8_t*>(blocks);
  for (int64_t b = 0; b < n / kElems; ++b, values += kElems, out += kBytes) {
    float x[kElems], top_scale = 0, top_min = 0;
    for (int i = 0; i < kElems; ++i) x[i] = finite_or_zero(values[i]);
    ScaleMin found[kSubs];
    for (int j = 0; j < kSubs; ++j) {
      found[j] = search_affine(x + 16 * j, 16, 3);
      top_scale = std::max(top_scale, found[j].scale);
      top_min = std::max(top_min, found[j].min);
    }
    std::memset(out, 0, kBytes);
    store_u16(out + kD, scale_to_f16(top_scale / 15));
    store_u16(out + kDmin, scale_to_f16(top_min / 15));
    const float d = f16_to_f32(load_u16(out + kD)), dmin = f16_to_f32(load_u16(out + kDmin));
    for (int j = 0; j < kSubs; ++j) {
      const int scale = d > 0 ? round_clamped(found[j].scale / d, 0, 15) : 0;
      const int min = dmin > 0 ? round_clamped(found[j].min / dmin, 0, 15) : 0;
      out[j] = static_cast<uint8_t>(scale | min << 4);
      // The integers that are best for the scale and minimum as stored.
      const float s = d * static_cast<float>(scale), m = dmin * static_cast<float>(min);
      for (int i = 16 * j; i < 16 * j + 16; ++i) {
        const int q = s > 0 ? round_clamped((x[i] + m) / s, 0, 3) : 0;
        out[kValues + 32 * (i / 128) + i % 32] |= static_cast<uint8_t>(q << (2 * (i / 32 % 4)));
      }
    }
  }
}

void decode(const void* blocks, float* values, int64_t n) {
  const auto* in = static_cast<const uint8_t*>(blocks);
  for (int64_t b = 0; b < n / kElems; ++b, values += kElems, in += kBytes) {
    const float d = f16_to_f32(load_u16(in + kD)), dmin = f16_to_f32(load_u16(in + kDmin));
    for (int i = 0; i < kElems; ++i) {
      const float scale = d * static_cast<float>(in[i / 16] & 15), min = dmin * static_cast<float>(in[i / 16] >> 4);
      values[i] = scale * static_cast<float>(value_at(in, i)) - min;
    }
  }
}

void unpack(const void* block, QuantBlock* out) {
  const auto* in = static_cast<const uint8_t*>(block);
  out->d = load_u16(in + kD);
  out->dmin = load_u16(in + kDmin);
  for (int j = 0; j < kSubs; ++j) {
    out->scale[j] = in[j] & 15;
    out->min[j] = in[j] >> 4;
  }
  for (int i = 0; i < kElems; ++i) out->q[i] = static_cast<uint8_t>(value_at(in, i));
}

}  // namespace

const WeightFormat kQ2_K = {DType::q2_k, "Q2_K", kElems, kBytes, encode, decode, unpack};

}  // namespace sluice
