#include "model/layers/short_conv.h"

#include <algorithm>

namespace sluice {

void ShortConv::declare(TensorTable& table) {
  table.vector(key_ + ".weight", &weight_, channels_ * taps_);
  table.vector(key_ + ".bias", &bias_, channels_, bias_presence_);
}

Status ShortConv::prepare(WeightStore& store) {
  SLUICE_TRY(const std::span<float> values, store.values(channels_ * taps_));
  by_tap_ = values.data();
  for (int64_t c = 0; c < channels_; ++c)
    for (int t = 0; t < taps_; ++t) by_tap_[t * channels_ + c] = weight_[c * taps_ + t];
  return {};
}

void ShortConv::apply(const LayerPass& pass, int64_t offset, float* x) const {
  walk_state(pass, state(offset), [&](int64_t part, float* state, int64_t first, int64_t rows) {
    const int64_t begin = part * kGroup, width = std::min(kGroup, channels_ - begin);
    const float* const newest = by_tap_ + (taps_ - 1) * channels_ + begin;
    for (int64_t r = first; r < first + rows; ++r) {
      float* const row = x + r * channels_ + begin;
      float sum[kGroup];
      for (int64_t c = 0; c < width; ++c) sum[c] = bias_ != nullptr ? bias_[begin + c] : 0.0f;
      for (int t = 0; t + 1 < taps_; ++t) {
        const float *const w = by_tap_ + t * channels_ + begin, *const old = state + t * kGroup;
        for (int64_t c = 0; c < width; ++c) sum[c] += w[c] * old[c];
      }
      std::copy(state + kGroup, state + (taps_ - 1) * kGroup, state);
      float* const last = state + (taps_ - 2) * kGroup;
      for (int64_t c = 0; c < width; ++c) {
        sum[c] += newest[c] * row[c];
        last[c] = row[c];
        row[c] = sum[c];
      }
    }
  });
  pass.ops.activate(x, pass.rows.count() * channels_, Activation::silu);
}

}  // namespace sluice
