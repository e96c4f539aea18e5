// Q4_1: blocks of 32; float16 d and m, then 16 bytes, byte j holding elements j (low) and j + 16 (high): value = d * q + m.

#include "quant/weight/block_search.h"
#include "quant/weight/weight_format.h"

namespace sluice {
namespace {

constexpr int kElems = 32, kBytes = 20;

void encode(const float* values, void* blocks, int64_t n) {
  auto* out = static_cast<uint8_t*>(blocks);
  for (int64_t b = 0; b < n / kElems; ++b, values += kElems, out += kBytes) {
    float x[kElems];
    for (int i = 0; i < kElems; ++i) x[i] = finite_or_zero(values[i]);
    const ScaleMin found = search_affine(x, kElems, 15, MinSign::any);
    const uint16_t d_bits = scale_to_f16(found.scale), m_bits = scale_to_f16(-found.min);
    const float d = f16_to_f32(d_bits), m = f16_to_f32(m_bits);
    store_u16(out, d_bits);
    store_u16(out + 2, m_bits);
    for (int j = 0; j < 16; ++j) {
      const int low = d > 0 ? round_clamped((x[j] - m) / d, 0, 15) : 0;
      const int high = d > 0 ? round_clamped((x[j + 16] - m) / d, 0, 15) : 0;
      out[4 + j] = static_cast<uint8_t>(low | high << 4);
    }
  }
}

void decode(const void* blocks, float* values, int64_t n) {
  const auto* in = static_cast<const uint8_t*>(blocks);
  for (int64_t b = 0; b < n / kElems; ++b, values += kElems, in += kBytes) {
    const float d = f16_to_f32(load_u16(in)), m = f16_to_f32(load_u16(in + 2));
    for (int j = 0; j < 16; ++j) {
      values[j] = d * static_cast<float>(in[4 + j] & 15) + m;
      values[j + 16] = d * static_cast<float>(in[4 + j] >> 4) + m;
    }
  }
}

void unpack(const void* block, QuantBlock* out) {
  const auto* in = static_cast<const uint8_t*>(block);
  out->d = load_u16(in);
  out->dmin = load_u16(in + 2) ^ 0x8000;  // -m
  for (int j = 0; j < 16; ++j) {
    out->q[j] = in[4 + j] & 15;
    out->q[j + 16] = in[4 + j] >> 4;
  }
}

}  // namespace

const WeightFormat kQ4_1 = {DType::q4_1, "Q4_1", kElems, kBytes, encode, decode, unpack};

}  // namespace sluice
