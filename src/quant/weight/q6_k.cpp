// Q6_K: super-blocks of 256 in 16 blocks of 16; 128 bytes of low nibbles, 64 bytes of high bit pairs, 16 int8 scales,
// float16 d: value = (d * scale) * (q - 32).

#include <algorithm>

#include "quant/weight/block_search.h"
#include "quant/weight/weight_format.h"

namespace sluice {
namespace {

constexpr int kElems = 256, kBytes = 210, kSubs = 16;
constexpr int kHigh = 128, kScales = 192, kD = 208;  // byte offsets

// In each half of 128 elements, element 32 p + i (p < 4, i < 32) has its low nibble in byte 32 (p mod 2) + i of the half's
// 64 (low nibble for p < 2, high for the others), and its upper bits at bit 2 p of byte i of the half's 32.
void unpack_values(const uint8_t* in, uint8_t* q) {
  for (int half = 0; half < 2; ++half)
    for (int p = 0; p < 4; ++p)
      for (int i = 0; i < 32; ++i) {
        const int low = in[64 * half + 32 * (p & 1) + i] >> (p < 2 ? 0 : 4) & 15;
        const int high = in[kHigh + 32 * half + i] >> (2 * p) & 3;
        q[128 * half + 32 * p + i] = static_cast<uint8_t>(low | high << 4);
      }
}

void pack_values(const uint8_t* q, uint8_t* out) {
  for (int half = 0; half < 2; ++half)
    for (int i = 0; i < 32; ++i) {
      const uint8_t* v = q + 128 * half + i;
      out[64 * half + i] = static_cast<uint8_t>((v[0] & 15) | (v[64] & 15) << 4);
      out[64 * half + 32 + i] = static_cast<uint8_t>((v[32] & 15) | (v[96] & 15) << 4);
      out[kHigh + 32 * half + i] =
          static_cast<uint8_t>(v[0] >> 4 | v[32] >> 4 << 2 | v[64] >> 4 << 4 | v[96] >> 4 << 6);
    }
}

void encode(const float* values, void* blocks, int64_t n) {
  auto* out = static_cast<uint8_t*>(blocks);
  for (int64_t b = 0; b < n / kElems; ++b, values += kElems, out += kBytes) {
    float x[kElems], found[kSubs], top = 0;
    for (int i = 0; i < kElems; ++i) x[i] = finite_or_zero(values[i]);
    for (int j = 0; j < kSubs; ++j) {
      found[j] = search_symmetric(x + 16 * j, 16, -32, 31);
      if (std::fabs(found[j]) > std::fabs(top)) top = found[j];
    }
    const uint16_t d_bits = scale_to_f16(top / -128);
    const float d = f16_to_f32(d_bits);
    uint8_t q[kElems];
    for (int j = 0; j < kSubs; ++j) {
      const int scale = d != 0 ? round_clamped(found[j] / d, -128, 127) : 0;
      out[kScales + j] = static_cast<uint8_t>(scale);
      const float s = d * static_cast<float>(scale);
      for (int i = 16 * j; i < 16 * j + 16; ++i)
        q[i] = static_cast<uint8_t>((s != 0 ? round_clamped(x[i] / s, -32, 31) : 0) + 32);
    }
    pack_values(q, out);
    store_u16(out + kD, d_bits);
  }
}

void decode(const void* blocks, float* values, int64_t n) {
  const auto* in = static_cast<const uint8_t*>(blocks);
  for (int64_t b = 0; b < n / kElems; ++b, values += kElems, in += kBytes) {
    const float d = f16_to_f32(load_u16(in + kD));
    uint8_t q[kElems];
    unpack_values(in, q);
    for (int i = 0; i < kElems; ++i) {
      const float scale = d * static_cast<float>(static_cast<int8_t>(in[kScales + i / 16]));
      values[i] = scale * static_cast<float>(q[i] - 32);
    }
  }
}

void unpack(const void* block, QuantBlock* out) {
  const auto* in = static_cast<const uint8_t*>(block);
  out->d = load_u16(in + kD);
  std::memcpy(out->scale, in + kScales, kSubs);
  unpack_values(in, out->q);
}

}  // namespace

const WeightFormat kQ6_K = {DType::q6_k, "Q6_K", kElems, kBytes, encode, decode, unpack};

}  // namespace sluice
