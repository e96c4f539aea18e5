// IQ4_XS: blocks of 256; float16 d, 16 bits and 4 bytes of 8 scales of 6 bits (upper 2 and lower 4), then per 32 values
// 16 bytes of 4-bit codes, byte j holding elements j (low) and j + 16 (high): value = (d * (scale - 32)) *
// kIq4NlValues[code].

#include <cmath>
#include <cstring>

#include "quant/weight/block_search.h"
#include "quant/weight/value_tables.h"
#include "quant/weight/weight_format.h"

namespace sluice {
namespace {

constexpr int kElems = 256, kBytes = 136;

void encode(const float* values, void* blocks, int64_t n) {
  auto* out = static_cast<uint8_t*>(blocks);
  for (int64_t b = 0; b < n / kElems; ++b, values += kElems, out += kBytes) {
    float x[kElems], found[8], largest = 0;
    for (int i = 0; i < kElems; ++i) x[i] = finite_or_zero(values[i]);
    for (int s = 0; s < 8; ++s) {
      found[s] = search_table(x + 32 * s, 32, kIq4NlValues);
      if (std::fabs(found[s]) > std::fabs(largest)) largest = found[s];
    }
    std::memset(out, 0, kBytes);
    store_u16(out, scale_to_f16(largest / -32));
    const float d = f16_to_f32(load_u16(out));
    for (int s = 0; s < 8; ++s) {
      const int scale = d != 0 ? round_clamped(found[s] / d, -32, 31) : 0;
      const float step = d * static_cast<float>(scale), inverse = step != 0 ? 1.0f / step : 0.0f;
      out[4 + s / 2] |= static_cast<uint8_t>(((scale + 32) & 15) << (4 * (s % 2)));
      out[2 + s / 4] |= static_cast<uint8_t>(((scale + 32) >> 4) << (2 * (s % 4)));
      for (int j = 0; j < 16; ++j) {
        const int low = nearest_code(x[32 * s + j] * inverse, kIq4NlValues, 16);
        const int high = nearest_code(x[32 * s + j + 16] * inverse, kIq4NlValues, 16);
        out[8 + 16 * s + j] = static_cast<uint8_t>(low | high << 4);
      }
    }
  }
}

void codes(const void* block, int8_t* codes, float* scales) {
  const auto* in = static_cast<const uint8_t*>(block);
  const float d = f16_to_f32(load_u16(in));
  const unsigned upper = load_u16(in + 2);
  for (int b = 0; b < 8; ++b) {
    const int scale = static_cast<int>((in[4 + b / 2] >> (4 * (b % 2)) & 15) | (upper >> (2 * b) & 3) << 4);
    scales[2 * b] = scales[2 * b + 1] = d * static_cast<float>(scale - 32);
    for (int j = 0; j < 16; ++j) {
      const uint8_t byte = in[8 + 16 * b + j];
      codes[32 * b + j] = kIq4NlValues[byte & 15];
      codes[32 * b + j + 16] = kIq4NlValues[byte >> 4];
    }
  }
}

void unpack(const void* block, QuantBlock* out) {
  const auto* in = static_cast<const uint8_t*>(block);
  out->d = load_u16(in);
  for (int s = 0; s < 8; ++s) {
    out->scale[s] = static_cast<uint8_t>((in[4 + s / 2] >> (4 * (s % 2)) & 15) | (load_u16(in + 2) >> (2 * s) & 3) << 4);
    for (int j = 0; j < 16; ++j) {
      out->q[32 * s + j] = in[8 + 16 * s + j] & 15;
      out->q[32 * s + j + 16] = in[8 + 16 * s + j] >> 4;
    }
  }
}

}  // namespace

const WeightFormat kIQ4_XS = {DType::iq4_xs, "IQ4_XS", kElems, kBytes, encode, decode_codes<codes, kElems, kBytes>,
                              unpack,       codes};

}  // namespace sluice
