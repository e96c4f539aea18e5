#pragma once
// The feed-forward part that every row goes through: down(act(gate(x)) * up(x)) (Shazeer 2020, "GLU variants improve
// transformer"), or down(act(up(x))) (Vaswani et al. 2017).

#include <optional>
#include <string>

#include "model/layers/layer.h"

namespace sluice {

struct MlpConfig {
  int64_t hidden = 0, ffn = 0;
  Activation act = Activation::silu;
  bool gated = true;
  Presence bias = Presence::absent;  // of all its matrices
  float gate_scale = 1;              // of the gate's products, before the activation (Falcon-H1)
  float down_scale = 1;              // of the output
  std::optional<NormStyle> hidden_norm = {};  // of the hidden values, before down (BitNet's sub-LN)
  std::string suffix = {};           // of its tensors' names: "_shexp" of an expert that all rows share
};

class MlpLayer final : public FeedForward {
 public:
  explicit MlpLayer(MlpConfig config) : config_(std::move(config)) {
    if (config_.hidden_norm) hidden_norm_ = NormLayer("ffn_sub_norm", *config_.hidden_norm, config_.ffn);
  }
  void declare(TensorTable& table) override;
  void apply(const Ops& ops, const float* x, int64_t rows, const Norm& norm, float* y, bool adds) override;

 private:
  void apply_scaled(const Ops& ops, const MatmulIn& in, float* y, bool adds);

  MlpConfig config_;
  NormLayer hidden_norm_;
  PackedMatrix gate_, up_, down_;
  const float *gate_bias_ = nullptr, *up_bias_ = nullptr, *down_bias_ = nullptr;
  std::vector<float> gate_out_, up_out_, down_out_;  // where there are scales, of the rows of a pass; kept for their memory
};

}  // namespace sluice
