#pragma once
// The time mix of RWKV 5 and 6 (Peng et al. 2024, "Eagle and Finch"): heads whose state is a matrix of keys by values, with a decay
// for each key; in RWKV 6 the decays and the blends of the rows depend on the rows themselves, through products of low rank.

#include "model/layers/group_norm.h"
#include "model/layers/rwkv.h"

namespace sluice {

struct TimeMix6Config {
  int64_t hidden = 0, head_size = 0;
  int64_t blend_rank = 0, decay_rank = 0;  // 0 of both: RWKV 5
  float head_norm_eps = 64e-5f;            // that of outputs divided by 8, as they were trained
  bool by_row() const { return blend_rank > 0; }
  int64_t heads() const { return hidden / head_size; }
};

/// The norm of each head's output.
NormStyle rwkv_head_norm(float eps);

class TimeMix6 final : public Mixer {
 public:
  explicit TimeMix6(const TimeMix6Config& config);
  void declare(TensorTable& table) override;
  Status prepare(WeightStore& store) override;
  KvGroup kv() const override { return state_group(state_.end()); }
  WorkspaceWidths widths() const override;
  bool mix(const LayerPass& pass, const Norm& norm, float* y, bool adds) override;

 private:
  enum Blended { kW, kK, kV, kR, kG, kBlends };  // in the order of the low-rank products' tensors

  struct Rows {  // of a pass
    float *x, *delta, *decay, *k, *v, *r, *g, *blend, *more, *low[kBlends], *decay_low;
  };
  /// The rows' own parts of the blends' shares, before their last product.
  void blend_ranks(const LayerPass& pass, const Rows& rows);
  /// rows.blend = the rows blended for one product.
  void blend(const LayerPass& pass, const Rows& rows, Blended which);
  void set_decay(const LayerPass& pass, const Rows& rows);
  void recur(const LayerPass& pass, const Rows& rows, float* out) const;

  TimeMix6Config config_;
  StateParts state_;  // of a head: [key][value]
  RowBlend blends_[kBlends], low_blend_;
  GroupNorm head_norm_;
  PackedMatrix k_, v_, r_, g_, o_, low_in_[kBlends], decay_in_, decay_out_;
  ExpertMatrices low_out_;
  const float *decay_ = nullptr, *bonus_ = nullptr;  // [hidden]
};

}  // namespace sluice
