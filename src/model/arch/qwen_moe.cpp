// Qwen2-MoE: Qwen2's layers with a mixture of experts and a gated expert for all rows. Qwen3-MoE: Qwen3's layers with a mixture in all of
// them, or in those that decoder_sparse_step and mlp_only_layers leave.
// Yang et al. 2025, "Qwen3 technical report".

#include <algorithm>

#include "model/arch/mixtures.h"
#include "model/layers/plain_decoder.h"

namespace sluice {
namespace {

constexpr ConfigKey kQwenNormalized{"norm_topk_prob", ""};
constexpr ConfigKey kSparseStep{"decoder_sparse_step", ""};
constexpr ConfigKey kDenseLayers{"mlp_only_layers", ""};

/// Puts the mixture into the layers that are to have it.
void place(const ConfigReader& config, int64_t step, const MoeConfig& moe, PlainDecoder& d) {
  const std::vector<int64_t>* listed = config.metadata().integers(kDenseLayers.hf);
  config.cannot_be_said(step != 1 || (listed != nullptr && !listed->empty()), "some layers have no experts (decoder_sparse_step, mlp_only_layers)");
  const std::vector<int64_t> dense = listed != nullptr ? *listed : std::vector<int64_t>();
  d.ffn = [=](int layer) -> std::unique_ptr<FeedForward> {
    if (std::ranges::find(dense, layer) != dense.end() || (layer + 1) % step != 0) return nullptr;
    return std::make_unique<MoeLayer>(moe);
  };
  name_experts(d.names, "mlp");
}

Result<Decoder> qwen2moe(const ConfigReader& config, const TensorSource& source) {
  SLUICE_TRY(PlainDecoder d, PlainDecoder::read(config, source,
                                                {.name = "qwen2moe",
                                                 .gguf = {"qwen2moe"},
                                                 .window = WindowRule::from_layer,
                                                 .sliding_window = 4096,
                                                 .max_window_layers = 28,
                                                 .computes = {"num_experts", "gguf.expert_count"}}));
  SLUICE_TRY(d.attention.qkv_bias, read_bias(config, "qkv_bias", true));
  SLUICE_TRY(MoeConfig moe, read_mixture(config, d.config,
                                         {.experts = {"num_experts", "expert_count"},
                                          .ffn = {"moe_intermediate_size", "expert_feed_forward_length"}}));
  SLUICE_TRY(moe.routing.renormalize, config.boolean_or(kQwenNormalized, false));
  config.cannot_be_said(moe.routing.renormalize, "norm_topk_prob is true");
  const ConfigKey shared{"shared_expert_intermediate_size", "expert_shared_feed_forward_length"};
  if (const TensorInfo* up = source.find("blk.0.ffn_up_shexp.weight"); config.is_gguf() && !config.has(shared) && up != nullptr && up->shape.rank == 2) {
    moe.shared_ffn = up->shape[0];  // the first files do not say it
  } else {
    SLUICE_TRY(moe.shared_ffn, config.integer(shared, 1, kMaxWidth));
  }
  moe.shared_gate = true;
  SLUICE_TRY(const int64_t step, config.integer_or(kSparseStep, 1, 1, kMaxLayers));
  place(config, step, moe, d);
  const std::string at = "model.layers.{}.mlp.shared_expert";
  d.names.hf("ffn_gate_inp_shexp", {at + "_gate"})
      .hf("ffn_gate_shexp", {at + ".gate_proj"})
      .hf("ffn_up_shexp", {at + ".up_proj"})
      .hf("ffn_down_shexp", {at + ".down_proj"});
  return d.build();
}

Result<Decoder> qwen3moe(const ConfigReader& config, const TensorSource& source) {
  SLUICE_TRY(PlainDecoder d, PlainDecoder::read(config, source,
                                                {.name = "qwen3moe",
                                                 .gguf = {"qwen3moe"},
                                                 .head_dim = config.is_gguf() ? 128 : 0,
                                                 .window = WindowRule::from_layer,
                                                 .sliding_window = 4096,
                                                 .max_window_layers = 28,
                                                 .computes = {"num_experts", "num_local_experts", "gguf.expert_count"}}));
  SLUICE_TRY(d.attention.qkv_bias, read_bias(config, "attention_bias"));
  d.attention.output_bias = d.attention.qkv_bias;
  d.attention.qk_norm = QkNorm::head;
  SLUICE_TRY(MoeConfig moe, read_mixture(config, d.config,
                                         {.experts = {"num_experts", "expert_count"},
                                          .ffn = {"moe_intermediate_size", "expert_feed_forward_length"}}));
  SLUICE_TRY(moe.routing.renormalize, config.boolean_or(kQwenNormalized, config.is_gguf()));
  config.cannot_be_said(!moe.routing.renormalize, "norm_topk_prob is false");
  SLUICE_TRY(const int64_t step, config.integer_or(kSparseStep, 1, 1, kMaxLayers));
  place(config, step, moe, d);
  return d.build();
}

}  // namespace

ModelArch qwen2moe_arch() { return decoder_arch<qwen2moe>("qwen2moe", {"Qwen2MoeForCausalLM"}, {"qwen2moe"}); }
ModelArch qwen3moe_arch() { return decoder_arch<qwen3moe>("qwen3moe", {"Qwen3MoeForCausalLM"}, {"qwen3moe"}); }

}  // namespace sluice
