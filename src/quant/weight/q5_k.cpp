// Q5_K: super-blocks of 256 in 8 blocks of 32; float16 d and dmin, 12 bytes of 6-bit scales and minimums, 32 bytes of
// fifth bits, 128 bytes of low nibbles: value = (d * scale) * q - dmin * min.

#include "quant/weight/block_search.h"
#include "quant/weight/k_quant.h"
#include "quant/weight/weight_format.h"

namespace sluice {
namespace {

constexpr int kElems = 256, kBytes = 176, kSubs = 8;
constexpr int kFifth = 16, kLow = 48;  // byte offsets

// Element 32 s + i has its fifth bit at bit s of byte i, and its nibble as in Q4_K: in byte 32 (s / 2) + i, low for s even.
void unpack_values(const uint8_t* in, uint8_t* q) {
  for (int s = 0; s < kSubs; ++s)
    for (int i = 0; i < 32; ++i) {
      const int low = in[kLow + 32 * (s / 2) + i] >> (s % 2 * 4) & 15;
      q[32 * s + i] = static_cast<uint8_t>(low | (in[kFifth + i] >> s & 1) << 4);
    }
}

void encode(const float* values, void* blocks, int64_t n) {
  auto* out = static_cast<uint8_t*>(blocks);
  for (int64_t b = 0; b < n / kElems; ++b, values += kElems, out += kBytes) {
    const AffineSuper found = search_affine_super(values, 31);
    std::memset(out, 0, kBytes);
    store_u16(out, found.d);
    store_u16(out + 2, found.dmin);
    pack_scales(found.scale, found.min, out + 4);
    for (int s = 0; s < kSubs; ++s)
      for (int i = 0; i < 32; ++i) {
        const int q = found.q[32 * s + i];
        out[kLow + 32 * (s / 2) + i] |= static_cast<uint8_t>((q & 15) << (s % 2 * 4));
        out[kFifth + i] |= static_cast<uint8_t>(q >> 4 << s);
      }
  }
}

void decode(const void* blocks, float* values, int64_t n) {
  const auto* in = static_cast<const uint8_t*>(blocks);
  for (int64_t b = 0; b < n / kElems; ++b, values += kElems, in += kBytes) {
    const float d = f16_to_f32(load_u16(in)), dmin = f16_to_f32(load_u16(in + 2));
    uint8_t scale[kSubs], min[kSubs], q[kElems];
    unpack_scales(in + 4, scale, min);
    unpack_values(in, q);
    for (int s = 0; s < kSubs; ++s) {
      const float factor = d * scale[s], offset = dmin * min[s];
      for (int i = 32 * s; i < 32 * s + 32; ++i) values[i] = factor * static_cast<float>(q[i]) - offset;
    }
  }
}

void unpack(const void* block, QuantBlock* out) {
  const auto* in = static_cast<const uint8_t*>(block);
  out->d = load_u16(in);
  out->dmin = load_u16(in + 2);
  unpack_scales(in + 4, out->scale, out->min);
  unpack_values(in, out->q);
}

}  // namespace

const WeightFormat kQ5_K = {DType::q5_k, "Q5_K", kElems, kBytes, encode, decode, unpack};

}  // namespace sluice
