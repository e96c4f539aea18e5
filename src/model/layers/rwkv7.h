#pragma once
// The time mix of RWKV 7 (Peng et al. 2025, "RWKV-7 Goose"): a step decays the state of a head by key, takes out a part of what it
// holds under one direction, and adds a value under a key: S = S diag(w) - (S k') (k' a)^T + v k^T, where k' is a key of length 1 and a
// how much of it is replaced. Layers after the first take a part of their values from the first's.

#include <memory>

#include "model/layers/group_norm.h"
#include "model/layers/rwkv.h"

namespace sluice {

struct TimeMix7Config {
  int64_t hidden = 0, head_size = 0;
  int64_t decay_rank = 0, rate_rank = 0, value_rank = 0, gate_rank = 0;
  float head_norm_eps = 64e-5f;  // that of outputs divided by 8, as they were trained
  bool first = false;  // the layer whose values the others share
  std::shared_ptr<std::vector<float>> first_values;  // [rows of a piece, hidden], from the first layer to the others
  int64_t heads() const { return hidden / head_size; }
};

class TimeMix7 final : public Mixer {
 public:
  explicit TimeMix7(TimeMix7Config config);
  void declare(TensorTable& table) override;
  KvGroup kv() const override { return state_group(state_.end()); }
  WorkspaceWidths widths() const override;
  bool mix(const LayerPass& pass, const Norm& norm, float* y, bool adds) override;

 private:
  enum Blended { kR, kW, kK, kV, kA, kG, kBlends };

  /// second(first(x)) + bias, with a function between the two products.
  struct LowRank {
    PackedMatrix first, second;
    const float* bias = nullptr;
    int64_t rank = 0;
  };
  struct Rows {  // of a pass
    float *x, *delta, *blend, *r, *decay, *k, *v, *rate, *gate, *removal, *low, *more;
  };
  void declare(TensorTable& table, std::string_view name, LowRank& product, bool bias);
  template <class F>
  void apply(const LayerPass& pass, const Rows& rows, const LowRank& product, F between, float* out) const;
  void set_decay(const LayerPass& pass, const Rows& rows) const;
  void set_values(const LayerPass& pass, const Rows& rows) const;
  void set_gate(const LayerPass& pass, const Rows& rows) const;
  /// The direction that is taken out, its part, and the key that is added.
  void set_keys(const LayerPass& pass, const Rows& rows) const;
  void project(const LayerPass& pass, const Rows& rows, Blended which, const PackedMatrix& matrix, float* out) const;
  void recur(const LayerPass& pass, const Rows& rows, float* out) const;

  TimeMix7Config config_;
  StateParts state_;  // of a head: [key][value]
  RowBlend blends_[kBlends];
  GroupNorm head_norm_;
  PackedMatrix r_, k_, v_, o_;
  LowRank decay_, rate_, value_, gate_;
  const float *removal_gain_ = nullptr, *rate_share_ = nullptr, *bonus_ = nullptr;  // [hidden]
};

}  // namespace sluice
