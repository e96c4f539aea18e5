#pragma once
// A mixture of experts: each row goes through the few MLPs that a router chooses for it, and their outputs are added by weight
// (Shazeer et al. 2017, "Outrageously large neural networks"); some families add an expert that all rows go through (Dai et al.
// 2024, "DeepSeekMoE"). No row is dropped and none is padded; experts add in the order in which the row ranks them.

#include <memory>
#include <vector>

#include "model/layers/mlp.h"

namespace sluice {

struct MoeConfig {
  int64_t hidden = 0, ffn = 0;         // ffn of one expert
  Routing routing;                     // experts, top_k and how they are chosen; its bias comes from the file
  Presence selection_bias = Presence::absent, router_bias = Presence::absent, expert_bias = Presence::absent;
  Activation act = Activation::silu;
  SwigluParams swiglu = {};
  int64_t shared_ffn = 0;              // of the expert for all rows; 0: none
  bool weighs_input = false;           // an expert's input is multiplied by its weight, instead of its output; of one choice (Llama 4)
  bool shared_gate = false;            // whose output is multiplied by sigmoid(its gate(x)) (Qwen2-MoE)
};

class MoeLayer final : public FeedForward {
 public:
  explicit MoeLayer(MoeConfig config);
  void declare(TensorTable& table) override;
  void apply(const Ops& ops, const float* x, int64_t rows, const Norm& norm, float* y, bool adds) override;
  std::span<const int64_t> expert_rows() const override { return expert_rows_; }
  int experts_per_row() const override { return config_.routing.top_k; }

 private:
  void add_shared(const Ops& ops, const float* x, int64_t rows, const Norm& norm, float* y);

  MoeConfig config_;
  PackedMatrix router_, shared_gate_;
  const float *router_bias_ = nullptr, *selection_bias_ = nullptr;
  ExpertMatrices gate_, up_, down_;
  const float *gate_bias_ = nullptr, *up_bias_ = nullptr, *down_bias_ = nullptr;
  std::unique_ptr<MlpLayer> shared_;
  std::vector<int64_t> expert_rows_, counts_;  // since the start, and of a pass
  std::vector<float> logits_, weights_, shared_out_, weighed_;  // of the rows of a pass; kept for their memory
  std::vector<int32_t> ids_;
};

/// The names that most mixtures have under "model.layers.{}.`at`": a router "gate" and experts with gate_proj, up_proj, down_proj.
void name_experts(TensorNames& names, std::string_view at);

}  // namespace sluice
