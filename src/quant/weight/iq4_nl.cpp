// IQ4_NL: blocks of 32; float16 d, then 16 bytes of 4-bit codes, byte j holding elements j (low) and j + 16 (high):
// value = d * kIq4NlValues[code]. The table's values are denser near zero, as weights are.

#include "quant/weight/block_search.h"
#include "quant/weight/value_tables.h"
#include "quant/weight/weight_format.h"

namespace sluice {
namespace {

constexpr int kElems = 32, kBytes = 18;

void encode(const float* values, void* blocks, int64_t n) {
  auto* out = static_cast<uint8_t*>(blocks);
  for (int64_t b = 0; b < n / kElems; ++b, values += kElems, out += kBytes) {
    float x[kElems];
    for (int i = 0; i < kElems; ++i) x[i] = finite_or_zero(values[i]);
    const uint16_t bits = scale_to_f16(search_table(x, kElems, kIq4NlValues));
    const float d = f16_to_f32(bits);
    const float inverse = d != 0 ? 1.0f / d : 0.0f;
    store_u16(out, bits);
    for (int j = 0; j < 16; ++j) {
      const int low = nearest_code(x[j] * inverse, kIq4NlValues, 16);
      const int high = nearest_code(x[j + 16] * inverse, kIq4NlValues, 16);
      out[2 + j] = static_cast<uint8_t>(low | high << 4);
    }
  }
}

void decode(const void* blocks, float* values, int64_t n) {
  const auto* in = static_cast<const uint8_t*>(blocks);
  for (int64_t b = 0; b < n / kElems; ++b, values += kElems, in += kBytes) {
    const float d = f16_to_f32(load_u16(in));
    for (int j = 0; j < 16; ++j) {
      values[j] = d * static_cast<float>(kIq4NlValues[in[2 + j] & 15]);
      values[j + 16] = d * static_cast<float>(kIq4NlValues[in[2 + j] >> 4]);
    }
  }
}

void unpack(const void* block, QuantBlock* out) {
  const auto* in = static_cast<const uint8_t*>(block);
  out->d = load_u16(in);
  for (int j = 0; j < 16; ++j) {
    out->q[j] = in[2 + j] & 15;
    out->q[j + 16] = in[2 + j] >> 4;
  }
}

}  // namespace

const WeightFormat kIQ4_NL = {DType::iq4_nl, "IQ4_NL", kElems, kBytes, encode, decode, unpack};

}  // namespace sluice
