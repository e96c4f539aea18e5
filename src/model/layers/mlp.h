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
  MlpConfig config_;
  NormLayer hidden_norm_;
  PackedMatrix gate_, up_, down_;
  const float *gate_bias_ = nullptr, *up_bias_ = nullptr, *down_bias_ = nullptr;
};

}  // namespace sluice
