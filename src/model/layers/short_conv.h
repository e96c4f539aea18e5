#pragma once
// The short causal convolution that stands before many recurrences: each channel's sum over its last few inputs, by weights of its
// own, and then silu (Poli et al. 2023, "Hyena hierarchy"; Gu and Dao 2023, "Mamba"). Its state is the inputs before a row.

#include <string>

#include "model/layers/state_rows.h"

namespace sluice {

class ShortConv {
 public:
  ShortConv() = default;
  /// Weights [channels, taps] under `key`; the last tap is the row's own.
  ShortConv(std::string key, int64_t channels, int taps, Presence bias)
      : key_(std::move(key)), channels_(channels), taps_(taps), bias_presence_(bias) {}
  void declare(TensorTable& table);
  Status prepare(WeightStore& store);

  int64_t channels() const { return channels_; }
  StateParts state(int64_t offset) const { return {offset, (channels_ + kGroup - 1) / kGroup, (taps_ - 1) * kGroup}; }
  /// x[rows, channels] = silu(convolution), in place.
  void apply(const LayerPass& pass, int64_t offset, float* x) const;

 private:
  static constexpr int64_t kGroup = 64;  // channels whose state stands together: [taps - 1][kGroup], the oldest first

  std::string key_;
  int64_t channels_ = 0;
  int taps_ = 0;
  Presence bias_presence_ = Presence::absent;
  const float *weight_ = nullptr, *bias_ = nullptr;
  float* by_tap_ = nullptr;  // [taps][channels]
};

}  // namespace sluice
