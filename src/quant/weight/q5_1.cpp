// Q5_1: blocks of 32; float16 d and m, 4 bytes of fifth bits (bit i of element i), then 16 bytes of low nibbles, byte j
// holding elements j (low) and j + 16 (high): value = d * q + m.

#include "quant/weight/block_search.h"
#include "quant/weight/weight_format.h"

namespace sluice {
namespace {

constexpr int kElems = 32, kBytes = 24;
constexpr int kFifth = 4, kLow = 8;  // byte offsets

void unpack_values(const uint8_t* in, uint8_t* q) {
  for (int i = 0; i < kElems; ++i) {
    const int low = in[kLow + i % 16] >> (i < 16 ? 0 : 4) & 15;
    q[i] = static_cast<uint8_t>(low | (in[kFifth + i / 8] >> (i % 8) & 1) << 4);
  }
}

void encode(const float* values, void* blocks, int64_t n) {
  auto* out = static_cast<uint8_t*>(blocks);
  for (int64_t b = 0; b < n / kElems; ++b, values += kElems, out += kBytes) {
    float x[kElems];
    for (int i = 0; i < kElems; ++i) x[i] = finite_or_zero(values[i]);
    const ScaleMin found = search_affine(x, kElems, 31, MinSign::any);
    const uint16_t d_bits = scale_to_f16(found.scale), m_bits = scale_to_f16(-found.min);
    const float d = f16_to_f32(d_bits), m = f16_to_f32(m_bits);
    std::memset(out, 0, kBytes);
    store_u16(out, d_bits);
    store_u16(out + 2, m_bits);
    for (int i = 0; i < kElems; ++i) {
      const int q = d > 0 ? round_clamped((x[i] - m) / d, 0, 31) : 0;
      out[kLow + i % 16] |= static_cast<uint8_t>((q & 15) << (i < 16 ? 0 : 4));
      out[kFifth + i / 8] |= static_cast<uint8_t>(q >> 4 << (i % 8));
    }
  }
}

void decode(const void* blocks, float* values, int64_t n) {
  const auto* in = static_cast<const uint8_t*>(blocks);
  for (int64_t b = 0; b < n / kElems; ++b, values += kElems, in += kBytes) {
    const float d = f16_to_f32(load_u16(in)), m = f16_to_f32(load_u16(in + 2));
    uint8_t q[kElems];
    unpack_values(in, q);
    for (int i = 0; i < kElems; ++i) values[i] = d * static_cast<float>(q[i]) + m;
  }
}

void unpack(const void* block, QuantBlock* out) {
  const auto* in = static_cast<const uint8_t*>(block);
  out->d = load_u16(in);
  out->dmin = load_u16(in + 2) ^ 0x8000;  // -m
  unpack_values(in, out->q);
}

}  // namespace

const WeightFormat kQ5_1 = {DType::q5_1, "Q5_1", kElems, kBytes, encode, decode, unpack};

}  // namespace sluice
