#pragma once
// The codec that Q8_0 and I8_G128 share: blocks of kElems values, float16 d, then kElems int8; value = d * q, |q| <= 127.

#include <algorithm>

#include "quant/weight/block_search.h"
#include "quant/weight/weight_format.h"

namespace sluice {

template <int kElems>
struct Int8Blocks {
  static constexpr int kBytes = 2 + kElems;

  /// The largest value takes 127.
  static void encode(const float* values, void* blocks, int64_t n) {
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

  static void decode(const void* blocks, float* values, int64_t n) {
    const auto* in = static_cast<const uint8_t*>(blocks);
    for (int64_t b = 0; b < n / kElems; ++b, values += kElems, in += kBytes) {
      const float d = f16_to_f32(load_u16(in));
      for (int i = 0; i < kElems; ++i) values[i] = d * static_cast<float>(static_cast<int8_t>(in[2 + i]));
    }
  }

  static void unpack(const void* block, QuantBlock* out) {
    const auto* in = static_cast<const uint8_t*>(block);
    out->d = load_u16(in);
    for (int i = 0; i < kElems; ++i) out->q[i] = in[2 + i] ^ 0x80;  // int8 + 128
  }
};

}  // namespace sluice
