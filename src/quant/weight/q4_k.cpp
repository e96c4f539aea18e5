// Q4_K: super-blocks of 256 in 8 blocks of 32; float16 d and dmin, 12 bytes of 6-bit scales and minimums, 128 bytes of
// 4-bit values: value = (d * scale) * q - dmin * min.

#include "quant/weight/block_search.h"
#include "quant/weight/k_quant.h"
#include "quant/weight/weight_format.h"

namespace sluice {
namespace {

constexpr int kElems = 256, kBytes = 144, kSubs = 8;

void encode(const float* values, void* blocks, int64_t n) {
  auto* out = static_cast<uint8_t*>(blocks);
  for (int64_t b = 0; b < n / kElems; ++b, values += kElems, out += kBytes) {
    const AffineSuper found = search_affine_super(values, 15);
    store_u16(out, found.d);
    store_u16(out + 2, found.dmin);
    pack_scales(found.scale, found.min, out + 4);
    for (int c = 0; c < 4; ++c)
      for (int i = 0; i < 32; ++i)
        out[16 + 32 * c + i] = static_cast<uint8_t>(found.q[64 * c + i] | found.q[64 * c + 32 + i] << 4);
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
