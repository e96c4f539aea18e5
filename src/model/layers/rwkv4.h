#pragma once
// RWKV 4's time mix: each channel's weighted average of the values so far, by exponentials of the keys that decay, with a bonus for
// the newest. The sums are kept divided by the exponential of their greatest exponent.

#include "model/layers/rwkv.h"

namespace sluice {

class TimeMix4 final : public Mixer {
 public:
  TimeMix4(int64_t hidden, int64_t width);
  void declare(TensorTable& table) override;
  Status prepare(WeightStore& store) override;
  KvGroup kv() const override { return state_group(sums_.end()); }
  WorkspaceWidths widths() const override;
  bool mix(const LayerPass& pass, const Norm& norm, float* y, bool adds) override;

 private:
  static constexpr int64_t kGroup = 64;  // channels that go over the rows together: [numerator, denominator, exponent][kGroup]

  void average(const LayerPass& pass, const float* k, const float* v, float* out) const;

  int64_t hidden_, width_;  // width: channels that are mixed
  StateParts sums_;
  RowBlend k_blend_, v_blend_, r_blend_;
  PackedMatrix k_, v_, r_, o_;
  const float *decay_ = nullptr, *bonus_ = nullptr;  // decay: ln of a step's factor
};

}  // namespace sluice
