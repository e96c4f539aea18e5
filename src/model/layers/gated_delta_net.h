#pragma once
// Gated delta net (Yang et al. 2024, "Gated delta networks: improving Mamba2 with the delta rule"): a head's matrix of keys by values
// decays, and what it holds under a key is moved towards the new value: S = g S, S += k (b (v - k S))^T, y = q S, normed per head, times
// silu of a gate. Several heads of values share a head of queries and keys (Qwen3-Next).

#include "model/layers/short_conv.h"

namespace sluice {

struct GatedDeltaConfig {
  int64_t hidden = 0;
  int64_t key_heads = 0, value_heads = 0, key_dim = 0, value_dim = 0;  // dims of a head
  int taps = 4;  // of the convolution of q, k and v
  NormStyle norm;
  int64_t keys() const { return key_heads * key_dim; }
  int64_t values() const { return value_heads * value_dim; }
  int64_t conv_channels() const { return 2 * keys() + values(); }
  int64_t sharing() const { return value_heads / key_heads; }
};

class GatedDeltaNet final : public Mixer {
 public:
  explicit GatedDeltaNet(GatedDeltaConfig config);
  void declare(TensorTable& table) override;
  Status prepare(WeightStore& store) override { return conv_.prepare(store); }
  KvGroup kv() const override { return state_group(state_.end()); }
  WorkspaceWidths widths() const override;
  bool mix(const LayerPass& pass, const Norm& norm, float* y, bool adds) override;

 private:
  /// out[rows, values] of qkv[rows, conv_channels] and the rates [rows, value_heads].
  void recur(const LayerPass& pass, const float* qkv, const float* write, const float* decay, float* out) const;

  GatedDeltaConfig config_;
  ShortConv conv_;
  StateParts state_;  // of a head of values: [key][value]
  NormLayer head_norm_;
  PackedMatrix q_, k_, v_, gate_, write_, decay_, out_;
  const float *dt_bias_ = nullptr, *a_ = nullptr;
};

/// Places of its tensors in Hugging Face files, under `at` ("model.layers.{}.linear_attn"), and in GGUFs.
void name_gated_delta_net(TensorNames& names, const GatedDeltaConfig& config, const std::string& at);

}  // namespace sluice
