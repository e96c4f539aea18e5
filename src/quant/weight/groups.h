#pragma once
// The types that published checkpoints of integers are repacked to without loss (docs/adr/0019): groups of values along
// k with a float32 scale and an integer that stands for zero. Blocks of kElems: float32 scale, uint8 zero, then the
// values, of 4 bits (each 32 as in Q4_0: byte j holding elements j and j + 16) or 8: value = scale * (q - zero).

#include <algorithm>
#include <cstring>

#include "quant/weight/block_search.h"
#include "quant/weight/weight_format.h"

namespace sluice {

template <int kElems, int kBits>
struct Groups {
  static constexpr int kHead = 5, kBytes = kHead + kElems * kBits / 8, kLevels = (1 << kBits) - 1;

  static int value_at(const uint8_t* in, int i) {
    if (kBits == 8) return in[kHead + i];
    return in[kHead + i / 32 * 16 + i % 16] >> (4 * (i / 16 % 2)) & 15;
  }
  static void put_value(int i, int q, uint8_t* out) {
    if (kBits == 8)
      out[kHead + i] = static_cast<uint8_t>(q);
    else
      out[kHead + i / 32 * 16 + i % 16] |= static_cast<uint8_t>(q << (4 * (i / 16 % 2)));
  }

  /// Rounded to nearest, between the least and the largest value, or zero where that is beyond them.
  static void encode(const float* values, void* blocks, int64_t n) {
    auto* out = static_cast<uint8_t*>(blocks);
    for (int64_t b = 0; b < n / kElems; ++b, values += kElems, out += kBytes) {
      float low = 0, high = 0;
      for (int i = 0; i < kElems; ++i) {
        low = std::min(low, finite_or_zero(values[i]));
        high = std::max(high, finite_or_zero(values[i]));
      }
      const float scale = high / kLevels - low / kLevels, inverse = scale > 0 ? 1 / scale : 0;
      const int zero = round_clamped(-low * inverse, 0, kLevels);
      std::memset(out, 0, kBytes);
      std::memcpy(out, &scale, 4);
      out[4] = static_cast<uint8_t>(zero);
      for (int i = 0; i < kElems; ++i)
        put_value(i, round_clamped(finite_or_zero(values[i]) * inverse, -zero, kLevels - zero) + zero, out);
    }
  }

  static void decode(const void* blocks, float* values, int64_t n) {
    const auto* in = static_cast<const uint8_t*>(blocks);
    for (int64_t b = 0; b < n / kElems; ++b, values += kElems, in += kBytes) {
      float scale;
      std::memcpy(&scale, in, 4);
      for (int i = 0; i < kElems; ++i) values[i] = scale * static_cast<float>(value_at(in, i) - in[4]);
    }
  }

  static void unpack(const void* block, QuantBlock* out) {
    const auto* in = static_cast<const uint8_t*>(block);
    std::memcpy(out->scale, in, 4);
    out->min[0] = in[4];
    for (int i = 0; i < kElems; ++i) out->q[i] = static_cast<uint8_t>(value_at(in, i));
  }
};

}  // namespace sluice
