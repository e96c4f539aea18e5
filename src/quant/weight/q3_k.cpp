// Q3_K: super-blocks of 256 in 16 blocks of 16; 32 bytes of third bits, 64 bytes of low bit pairs, 12 bytes of 6-bit scales,
// float16 d: value = (d * (scale - 32)) * (q - 4).

#include <algorithm>

#include "quant/weight/block_search.h"
#include "quant/weight/weight_format.h"

namespace sluice {
namespace {

constexpr int kElems = 256, kBytes = 110, kSubs = 16;
constexpr int kThird = 0, kLow = 32, kScales = 96, kD = 108;  // byte offsets

// Element 128 h + 32 p + i (p < 4, i < 32) has its low bits at bit 2 p of byte 32 h + i, its third at bit 4 h + p of byte i.
void unpack_values(const uint8_t* in, uint8_t* q) {
  for (int s = 0; s < 8; ++s)
    for (int i = 0; i < 32; ++i) {
      const int low = in[kLow + 32 * (s / 4) + i] >> (2 * (s % 4)) & 3;
      q[32 * s + i] = static_cast<uint8_t>(low | (in[kThird + i] >> s & 1) << 2);
    }
}

// Scale j has its low nibble in byte j mod 8 (low for j < 8), its upper bits at bit 2 (j / 4) of byte 8 + j mod 4.
void unpack_scales(const uint8_t* s, uint8_t* scale) {
  for (int j = 0; j < kSubs; ++j)
    scale[j] = static_cast<uint8_t>((s[j % 8] >> (j < 8 ? 0 : 4) & 15) | (s[8 + j % 4] >> (2 * (j / 4)) & 3) << 4);
}

void encode(const float* values, void* blocks, int64_t n) {
  auto* out = static_cast<uint8_t*>(blocks);
  for (int64_t b = 0; b < n / kElems; ++b, values += kElems, out += kBytes) {
    float x[kElems], found[kSubs], top = 0;
    for (int i = 0; i < kElems; ++i) x[i] = finite_or_zero(values[i]);
    for (int j = 0; j < kSubs; ++j) {
      found[j] = search_symmetric(x + 16 * j, 16, -4, 3);
      if (std::fabs(found[j]) > std::fabs(top)) top = found[j];
    }
    const uint16_t d_bits = scale_to_f16(top / -32);
    const float d = f16_to_f32(d_bits);
    std::memset(out, 0, kBytes);
    store_u16(out + kD, d_bits);
    for (int j = 0; j < kSubs; ++j) {
      const int scale = d != 0 ? round_clamped(found[j] / d, -32, 31) : 0;
      out[kScales + j % 8] |= static_cast<uint8_t>(((scale + 32) & 15) << (j < 8 ? 0 : 4));
      out[kScales + 8 + j % 4] |= static_cast<uint8_t>((scale + 32) >> 4 << (2 * (j / 4)));
      const float s = d * static_cast<float>(scale);
      for (int i = 16 * j; i < 16 * j + 16; ++i) {
        const int q = (s != 0 ? round_clamped(x[i] / s, -4, 3) : 0) + 4;
        out[kLow + 32 * (i / 128) + i % 32] |= static_cast<uint8_t>((q & 3) << (2 * (i / 32 % 4)));
        out[kThird + i % 32] |= static_cast<uint8_t>(q >> 2 << (i / 32));
      }
    }
  }
}

void decode(const void* blocks, float* values, int64_t n) {
  const auto* in = static_cast<const uint8_t*>(blocks);
  for (int64_t b = 0; b < n / kElems; ++b, values += kElems, in += kBytes) {
    const float d = f16_to_f32(load_u16(in + kD));
    uint8_t q[kElems], scale[kSubs];
    unpack_values(in, q);
    unpack_scales(in + kScales, scale);
    for (int i = 0; i < kElems; ++i)
      values[i] = (d * static_cast<float>(scale[i / 16] - 32)) * static_cast<float>(q[i] - 4);
  }
}

void unpack(const void* block, QuantBlock* out) {
  const auto* in = static_cast<const uint8_t*>(block);
  out->d = load_u16(in + kD);
  unpack_scales(in + kScales, out->scale);
  unpack_values(in, out->q);
}

}  // namespace

const WeightFormat kQ3_K = {DType::q3_k, "Q3_K", kElems, kBytes, encode, decode, unpack};

}  // namespace sluice
