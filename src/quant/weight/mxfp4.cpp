// MXFP4 (Open Compute Project, Microscaling Formats 1.0): blocks of 32; one byte e, a power of two (E8M0), then 16 bytes of
// 4-bit floats (E2M1), byte j holding elements j (low) and j + 16 (high): value = 2^(e - 128) * kE2M1Doubled[code].
//
// As in ggml, e = 255 is a power of two like the others, where the specification says NaN.

#include <algorithm>
#include <cmath>

#include "quant/weight/block_search.h"
#include "quant/weight/value_tables.h"
#include "quant/weight/weight_format.h"

namespace sluice {
namespace {

constexpr int kElems = 32, kBytes = 17;
constexpr int kTopExponent = 252;  // the largest whose 12 * 2^(e - 128) is finite

float half_scale(int e) { return std::ldexp(1.0f, e - 128); }

// The nearest value's magnitude is in the table's first half; the sign is bit 3.
int nearest(float v) {
  const int code = nearest_code(std::fabs(v), kE2M1Doubled, 8);
  return v < 0 && code != 0 ? code | 8 : code;
}

// The power of two of least squared error around the one that brings the largest value to [4, 8).
int search_exponent(const float* x) {
  float largest = 0;
  for (int i = 0; i < kElems; ++i) largest = std::max(largest, std::fabs(x[i]));
  if (largest == 0) return 0;
  const int middle = std::ilogb(largest) - 2 + 127;
  int best = 0;
  double best_error = -1;
  for (int e = middle - 1; e <= middle + 1; ++e) {
    const int held = std::clamp(e, 0, kTopExponent);
    const float d = half_scale(held);
    double error = 0;
    for (int i = 0; i < kElems; ++i) {
      const double diff = static_cast<double>(d) * kE2M1Doubled[nearest(x[i] / d)] - x[i];
      error += diff * diff;
    }
    if (best_error < 0 || error < best_error) {
      best_error = error;
      best = held;
    }
  }
  return best;
}

void encode(const float* values, void* blocks, int64_t n) {
  auto* out = static_cast<uint8_t*>(blocks);
  for (int64_t b = 0; b < n / kElems; ++b, values += kElems, out += kBytes) {
    float x[kElems];
    for (int i = 0; i < kElems; ++i) x[i] = finite_or_zero(values[i]);
    const int e = search_exponent(x);
    const float d = half_scale(e);
    out[0] = static_cast<uint8_t>(e);
    for (int j = 0; j < 16; ++j) out[1 + j] = static_cast<uint8_t>(nearest(x[j] / d) | nearest(x[j + 16] / d) << 4);
  }
}

void decode(const void* blocks, float* values, int64_t n) {
  const auto* in = static_cast<const uint8_t*>(blocks);
  for (int64_t b = 0; b < n / kElems; ++b, values += kElems, in += kBytes) {
    const float d = half_scale(in[0]);
    for (int j = 0; j < 16; ++j) {
      values[j] = d * static_cast<float>(kE2M1Doubled[in[1 + j] & 15]);
      values[j + 16] = d * static_cast<float>(kE2M1Doubled[in[1 + j] >> 4]);
    }
  }
}

void unpack(const void* block, QuantBlock* out) {
  const auto* in = static_cast<const uint8_t*>(block);
  out->scale[0] = in[0];
  for (int j = 0; j < 16; ++j) {
    out->q[j] = in[1 + j] & 15;
    out->q[j + 16] = in[1 + j] >> 4;
  }
}

}  // namespace

const WeightFormat kMXFP4 = {DType::mxfp4, "MXFP4", kElems, kBytes, encode, decode, unpack};

}  // namespace sluice
