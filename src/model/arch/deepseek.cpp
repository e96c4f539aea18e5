// DeepSeek-V2 and V3 (and Kimi K2): latent attention; a few dense layers, then mixtures of small experts with one that all rows go
// through. V2 chooses by softmax, within the best groups; V3 by sigmoid with a bias that only the choice sees, groups ranked by their
// best two.
// DeepSeek-AI 2024, "DeepSeek-V2"; 2024, "DeepSeek-V3 technical report".

#include "model/layers/latent_config.h"
#include "model/layers/moe.h"
#include "model/layers/plain_decoder.h"

namespace sluice {
namespace {

constexpr ConfigKey kExperts{"n_routed_experts", "expert_count"};
constexpr ConfigKey kTopK{"num_experts_per_tok", "expert_used_count"};
constexpr ConfigKey kExpertFfn{"moe_intermediate_size", "expert_feed_forward_length"};
constexpr ConfigKey kShared{"n_shared_experts", "expert_shared_count"};
constexpr ConfigKey kDense{"first_k_dense_replace", "leading_dense_block_count"};
constexpr ConfigKey kGroups{"n_group", "expert_group_count"}, kTopGroups{"topk_group", "expert_group_used_count"};
constexpr ConfigKey kScale{"routed_scaling_factor", "expert_weights_scale"};
constexpr ConfigKey kNormalized{"norm_topk_prob", "expert_weights_norm"};
constexpr ConfigKey kGating{"", "expert_gating_func"};
constexpr ConfigKey kMethod{"topk_method", ""};
constexpr ConfigKey kPrediction{"num_nextn_predict_layers", "nextn_predict_layers"};
constexpr int64_t kSoftmaxGating = 1, kSigmoidGating = 2;

Result<MoeConfig> read_experts(const ConfigReader& config, const DecoderConfig& d, bool third) {
  MoeConfig moe;
  moe.hidden = d.info.hidden;
  SLUICE_TRY(const int64_t experts, config.integer(kExperts, 1, 1 << 14));
  SLUICE_TRY(const int64_t top_k, config.integer(kTopK, 1, experts));
  SLUICE_TRY(moe.ffn, config.integer(kExpertFfn, 1, kMaxWidth));
  const bool hf = !config.is_gguf(), v3 = third && hf;  // whose settings have other defaults
  SLUICE_TRY(const int64_t shared, config.integer_or(kShared, v3 ? 1 : hf ? 2 : 0, 0, 1 << 10));
  moe.shared_ffn = shared * moe.ffn;
  SLUICE_TRY(int64_t groups, config.integer_or(kGroups, v3 ? 8 : 1, 1, experts));
  SLUICE_TRY(int64_t top_groups, config.integer_or(kTopGroups, v3 ? 4 : 1, 1, groups));
  if (experts % groups != 0) return config.invalid(kGroups, fmt::format("is {}; it must divide the {} experts", groups, experts));
  if (top_groups > groups) return config.invalid(kTopGroups, fmt::format("is {}; there are {} groups", top_groups, groups));
  SLUICE_TRY(const std::string method, config.string_or(kMethod, third ? "noaux_tc" : hf ? "greedy" : "group_limited_greedy"));
  if (config.is_gguf() && !third && groups == 1) config.note(kMethod, std::string("greedy"));
  if (method == "greedy") groups = top_groups = 1;
  else if (method != "group_limited_greedy" && method != "noaux_tc")
    return config.refused(kMethod, fmt::format("is \"{}\"; known are greedy, group_limited_greedy, noaux_tc", method.substr(0, 100)));
  if (top_groups * (experts / groups) < top_k)
    return config.invalid(kTopK, fmt::format("is {}, but {} groups have {} experts", top_k, top_groups, top_groups * (experts / groups)));
  SLUICE_TRY(const double scale, config.number_or(kScale, v3 ? 2.5 : 1.0, 1e-9, 1e9));
  SLUICE_TRY(const bool normalized, config.boolean_or(kNormalized, v3));
  moe.routing = {.experts = static_cast<int>(experts),
                 .top_k = static_cast<int>(top_k),
                 .score = third ? Routing::Score::sigmoid : Routing::Score::softmax,
                 .renormalize = normalized,
                 .groups = static_cast<int>(groups),
                 .top_groups = static_cast<int>(top_groups),
                 .group_score = third ? Routing::GroupScore::best_two : Routing::GroupScore::best,
                 .scale = static_cast<float>(scale)};
  if (third) moe.selection_bias = config.is_gguf() ? Presence::if_present : Presence::required;
  return moe;
}

void name_tensors(TensorNames& names, const LatentAttentionConfig& a, bool joined) {
  name_latent_attention(names, a, joined);
  name_experts(names, "mlp");
  names.hf("exp_probs_b.bias", {"model.layers.{}.mlp.gate.e_score_correction_bias"})
      .hf("ffn_gate_shexp", {"model.layers.{}.mlp.shared_experts.gate_proj"})
      .hf("ffn_up_shexp", {"model.layers.{}.mlp.shared_experts.up_proj"})
      .hf("ffn_down_shexp", {"model.layers.{}.mlp.shared_experts.down_proj"});
}

Result<Decoder> describe_deepseek(const ConfigReader& config, const TensorSource& source) {
  SLUICE_TRY(PlainDecoder d, PlainDecoder::read(config, source,
                                                {.name = "deepseek2",
                                                 .gguf = {"deepseek2", RopeStyle::interleaved},
                                                 .own_attention = true,
                                                 .computes = {"n_routed_experts", "gguf.expert_count", "rope_interleaved"}}));
  SLUICE_TRY_STATUS(config.only({"rope_interleave", ""}, true));
  SLUICE_TRY_STATUS(config.only({"moe_layer_freq", ""}, int64_t{1}));
  bool third = config.metadata().architecture() == "DeepseekV3ForCausalLM";
  if (config.is_gguf()) {
    SLUICE_TRY(const int64_t gating, config.integer_or(kGating, kSoftmaxGating, kSoftmaxGating, kSigmoidGating));
    third = gating == kSigmoidGating;
  } else {
    SLUICE_TRY_STATUS(config.only({"scoring_func", ""}, std::string(third ? "sigmoid" : "softmax")));
    config.note(kGating, third ? kSigmoidGating : kSoftmaxGating);
  }
  SLUICE_TRY(const LatentAttentionConfig attention, read_latent_attention(config, {.bias = "attention_bias", .style = RopeStyle::interleaved}, d.config));
  SLUICE_TRY(const MoeConfig moe, read_experts(config, d.config, third));
  SLUICE_TRY(const int64_t dense, config.integer_or(kDense, third && !config.is_gguf() ? 3 : 0, 0, kMaxLayers));
  if (third) d.config.hf_architecture = "DeepseekV3ForCausalLM";
  name_tensors(d.names, attention, source.find("blk.0.attn_kv_b.weight") != nullptr);
  d.mixer = [attention](int) { return std::make_unique<LatentAttention>(attention); };
  d.ffn = [moe, dense](int layer) { return layer < dense ? nullptr : std::make_unique<MoeLayer>(moe); };
  Decoder out = d.build();
  SLUICE_TRY(const int64_t prediction, config.integer_or(kPrediction, 0, 0, 64));
  config.forget(kPrediction);
  out.ignored_layers = static_cast<int>(prediction);
  return out;
}

}  // namespace

ModelArch deepseek_arch() {
  return decoder_arch<describe_deepseek>("deepseek2", {"DeepseekV2ForCausalLM", "DeepseekV3ForCausalLM"}, {"deepseek2"});
}

}  // namespace sluice
