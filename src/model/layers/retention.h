#pragma once
// Retention (Sun et al. 2023, "Retentive network"): heads without a softmax, whose keys and values are summed into a matrix that
// forgets at a rate of the head's own, in its recurrent form: S = g S + k v^T, y = q S, normed per head, times silu of a gate.

#include "model/layers/group_norm.h"
#include "model/layers/rope_config.h"
#include "model/layers/state_rows.h"

namespace sluice {

struct RetentionConfig {
  int64_t hidden = 0, values = 0;  // values: of all heads
  int heads = 0;
  NormStyle norm;
  std::vector<float> inv_freq;  // of the rotation of q and k, in neighbouring pairs
  int key_dim() const { return static_cast<int>(hidden / heads); }
  int value_dim() const { return static_cast<int>(values / heads); }
};

class Retention final : public Mixer {
 public:
  explicit Retention(RetentionConfig config);
  void declare(TensorTable& table) override;
  KvGroup kv() const override { return state_group(state_.end()); }
  WorkspaceWidths widths() const override { return {config_.hidden, config_.hidden, config_.values, config_.values, config_.values}; }
  bool mix(const LayerPass& pass, const Norm& norm, float* y, bool adds) override;

 private:
  void recur(const LayerPass& pass) const;

  RetentionConfig config_;
  StateParts state_;  // of a head: [key][value]
  GroupNorm head_norm_;
  PackedMatrix q_, k_, v_, gate_, o_;
};

}  // namespace sluice
