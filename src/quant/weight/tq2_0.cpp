// TQ2_0: blocks of 256; 64 bytes of 2-bit values, then float16 d: value = d * (q - 1), q from 0 to 2 (3 stands for 2
// d). BitNet's ternary weights are held so.

#include <algorithm>
#include <cmath>
#include <cstring>

#include "quant/weight/block_search.h"
#include "quant/weight/weight_format.h"

namespace sluice {
namespace {

constexpr int kElems = 256, kBytes = 66;

// As ggml rounds: by the largest value.
void encode(const float* values, void* blocks, int64_t n) {
  auto* out = static_cast<uint8_t*>(blocks);
  for (int64_t b = 0; b < n / kElems; ++b, values += kElems, out += kBytes) {
    float largest = 0;
    for (int i = 0; i < kElems; ++i) largest = std::max(largest, std::fabs(finite_or_zero(values[i])));
    const float inverse = largest > 0 ? 1.0f / largest : 0.0f;
    uint8_t q[kElems];
    for (int i = 0; i < kElems; ++i)
      q[i] = static_cast<uint8_t>(round_clamped(finite_or_zero(values[i]) * inverse, -1, 1) + 1);
    std::memset(out, 0, kBytes);
    for (int i = 0; i < kElems; ++i) out[i / 128 * 32 + i % 32] |= static_cast<uint8_t>(q[i] << (2 * (i / 32 % 4)));
    store_u16(out + kBytes - 2, scale_to_f16(largest));
  }
}

void codes(const void* block, int8_t* codes, float* scales) {
  const auto* in = static_cast<const uint8_t*>(block);
  const float d = f16_to_f32(load_u16(in + 64));
  for (int s = 0; s < 16; ++s) scales[s] = d;
  for (int i = 0; i < 64; ++i)
    for (int j = 0; j < 4; ++j) codes[i / 32 * 128 + 32 * j + i % 32] = static_cast<int8_t>((in[i] >> (2 * j) & 3) - 1);
}

void unpack(const void* block, QuantBlock* out) {
  const auto* in = static_cast<const uint8_t*>(block);
  out->d = load_u16(in + 64);
  for (int i = 0; i < kElems; ++i) out->q[i] = in[i / 128 * 32 + i % 32] >> (2 * (i / 32 % 4)) & 3;
}

}  // namespace

const WeightFormat kTQ2_0 = {DType::tq2_0, "TQ2_0", kElems, kBytes, encode, decode_codes<codes, kElems, kBytes>,
                             unpack,      codes};

}  // namespace sluice
