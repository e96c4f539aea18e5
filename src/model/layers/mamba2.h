#pragma once
// Mamba 2 (Dao and Gu 2024, "Transformers are SSMs"): heads of channels that share one decay each, and groups of heads that share
// what they take in and read by, so that a head's state is a matrix. As a recurrence: S = exp(dt A) S + dt B x^T, y = C S + D x.

#include "model/layers/group_norm.h"
#include "model/layers/short_conv.h"

namespace sluice {

struct Mamba2Config {
  int64_t hidden = 0;
  int64_t heads = 0, head_dim = 0, groups = 1, state = 0;
  int taps = 4;  // of the convolution
  Presence conv_bias = Presence::required, bias = Presence::absent;  // bias: of what goes in and comes out
  float least_dt = 0, most_dt = 0;  // what dt is clamped to; most_dt 0: nothing
  NormStyle norm;                   // of the output, times silu of a gate; of kind none: the gate alone
  int64_t norm_groups = 1;          // of equal parts of the output
  bool norm_before_gate = false;
  std::vector<float> scales = {};   // of z, x, B, C and dt as they come in (Falcon-H1); empty: 1
  float input_scale = 1, output_scale = 1;

  int64_t inner() const { return heads * head_dim; }
  int64_t conv_channels() const { return inner() + 2 * groups * state; }
  int64_t in_rows() const { return inner() + conv_channels() + heads; }
};

class Mamba2Mixer final : public Mixer {
 public:
  explicit Mamba2Mixer(Mamba2Config config);
  void declare(TensorTable& table) override;
  Status prepare(WeightStore& store) override { return conv_.prepare(store); }
  KvGroup kv() const override { return state_group(scan_.end()); }
  WorkspaceWidths widths() const override;
  bool mix(const LayerPass& pass, const Norm& norm, float* y, bool adds) override;

 private:
  /// gate [rows, inner], xbc [rows, conv_channels] and dt [rows, heads] of the inputs.
  void project(const LayerPass& pass, const Norm& norm);
  /// y[rows, inner] of xbc and dt.
  void scan(const LayerPass& pass, const float* xbc, const float* dt, float* y) const;

  Mamba2Config config_;
  ShortConv conv_;
  StateParts scan_;  // of a head: [state][head_dim]
  GroupNorm out_norm_;
  PackedMatrix in_gate_, in_xbc_, in_dt_, out_;
  const float *gate_in_bias_ = nullptr, *xbc_in_bias_ = nullptr, *dt_in_bias_ = nullptr, *out_bias_ = nullptr;
  const float *dt_bias_ = nullptr, *a_ = nullptr, *d_ = nullptr;
};

/// Places of a mixer's tensors in Hugging Face files, under `at` ("backbone.layers.{}.mixer"), and in GGUFs.
void name_mamba2(TensorNames& names, const Mamba2Config& config, const std::string& at);

}  // namespace sluice
