// F8_G32 and F8_G128, of our own: what checkpoints of 8-bit floats are repacked to. Blocks of kElems: float32 scale,
// then as many E4M3: value = scale * e4m3.

#include <algorithm>
#include <cmath>
#include <cstring>

#include "quant/weight/block_search.h"
#include "quant/weight/float8.h"
#include "quant/weight/weight_format.h"

namespace sluice {
namespace {

template <int kElems>
struct F8Groups {
  static constexpr int kBytes = 4 + kElems;

  static void encode(const float* values, void* blocks, int64_t n) {
    auto* out = static_cast<uint8_t*>(blocks);
    for (int64_t b = 0; b < n / kElems; ++b, values += kElems, out += kBytes) {
      float largest = 0;
      for (int i = 0; i < kElems; ++i) largest = std::max(largest, std::fabs(finite_or_zero(values[i])));
      const float scale = largest / 448.0f, inverse = scale > 0 ? 1 / scale : 0;
      std::memcpy(out, &scale, 4);
      for (int i = 0; i < kElems; ++i) out[4 + i] = f32_to_e4m3(finite_or_zero(values[i]) * inverse);
    }
  }

  static void decode(const void* blocks, float* values, int64_t n) {
    const auto* in = static_cast<const uint8_t*>(blocks);
    const float* const of = e4m3_values();
    for (int64_t b = 0; b < n / kElems; ++b, values += kElems, in += kBytes) {
      float scale;
      std::memcpy(&scale, in, 4);
      for (int i = 0; i < kElems; ++i) values[i] = scale * of[in[4 + i]];
    }
  }
};

}  // namespace

const WeightFormat kF8_G32 = {DType::f8_g32,       "F8_G32", 32, F8Groups<32>::kBytes, F8Groups<32>::encode,
                              F8Groups<32>::decode};
const WeightFormat kF8_G128 = {DType::f8_g128,       "F8_G128", 128, F8Groups<128>::kBytes, F8Groups<128>::encode,
                               F8Groups<128>::decode};

}  // namespace sluice
