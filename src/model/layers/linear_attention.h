#pragma once
// Linear attention (Katharopoulos et al. 2020, "Transformers are RNNs"): with phi(x) = elu(x) + 1 in place of the softmax, what a
// row attends is a sum that can be kept: S += phi(k) v^T, z += phi(k), y = phi(q) S / (phi(q) z + eps).

#include "model/layers/state_rows.h"

namespace sluice {

struct LinearAttentionConfig {
  int64_t hidden = 0;
  int heads = 0;
  float eps = 1e-6f;
  int64_t head_dim() const { return hidden / heads; }
};

class LinearAttention final : public Mixer {
 public:
  explicit LinearAttention(const LinearAttentionConfig& config);
  void declare(TensorTable& table) override;
  KvGroup kv() const override { return state_group(state_.end()); }
  WorkspaceWidths widths() const override { return {config_.hidden, config_.hidden, config_.hidden, config_.hidden}; }
  bool mix(const LayerPass& pass, const Norm& norm, float* y, bool adds) override;

 private:
  void recur(const LayerPass& pass) const;

  LinearAttentionConfig config_;
  StateParts state_;  // of a head: z [key], then S [key][value]
  PackedMatrix q_, k_, v_, o_;
  const float *q_bias_ = nullptr, *k_bias_ = nullptr, *v_bias_ = nullptr, *o_bias_ = nullptr;
};

}  // namespace sluice
