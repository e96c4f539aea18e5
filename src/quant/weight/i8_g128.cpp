// I8_G128, a type of Sluice's own: blocks of 128; float16 d, then 128 int8: value = d * q, |q| <= 127.
//
// It is Q8_0 with a scale for 128 values in place of 32, so that kernels apply a scale a quarter as often and read 8.125 bits a
// value in place of 8.5 (docs/adr/0008-repack-at-load.md). GGUF has no such type: weights come to it as they are loaded
// (--repack i8_g128) or in a native pack. Lossy, as every quantized type.

#include <algorithm>

#include "quant/weight/block_search.h"
#include "quant/weight/weight_format.h"

namespace sluice {
namespace {

constexpr int kElems = 128, kBytes = 130;

// The largest value takes 127. A search for the scale of least squared error takes 2 % of the error's deviation away and changes
// no loss that texts can tell, at sixteen times the work.
void encode(const float* values, void* blocks, int64_t n) {
  auto* out = static_cast<uint8_t*>(blocks);
  for (int64_t b = 0; b < n / kElems; ++b, values += kElems, out += kBytes) {
    float extreme = 0;
    for (int i = 0; i < kElems; ++i) extreme = std::max(extreme, std::fabs(finite_or_zero(values[i])));
    const float d = extreme / 127.0f;
    const float inverse = d > 0 ? 1.0f / d : 0.0f;
    store_u16(out, scale_to_f16(d));
    for (int i = 0; i < kElems; ++i)
      out[2 + i] = static_cast<uint8_t>(round_clamped(finite_or_zero(values[i]) * inverse, -127, 127));
  }
}

void decode(const void* blocks, float* values, int64_t n) {
  const auto* in = static_cast<const uint8_t*>(blocks);
  for (int64_t b = 0; b < n / kElems; ++b, values += kElems, in += kBytes) {
    const float d = f16_to_f32(load_u16(in));
    for (int i = 0; i < kElems; ++i) values[i] = d * static_cast<float>(static_cast<int8_t>(in[2 + i]));
  }
}

void unpack(const void* block, QuantBlock* out) {
  const auto* in = static_cast<const uint8_t*>(block);
  out->d = load_u16(in);
  for (int i = 0; i < kElems; ++i) out->q[i] = in[2 + i] ^ 0x80;  // int8 + 128
}

}  // namespace

const WeightFormat kI8_G128 = {DType::i8_g128, "I8_G128", kElems, kBytes, encode, decode, unpack};

}  // namespace sluice
