// Qwen3-Next: gated delta nets, with gated attention in every fourth layer, and a mixture of small experts with a gated one for all rows.
// Norms' gains are stored as their difference from 1, but for those of the delta nets' heads.
// Qwen Team 2025, "Qwen3-Next".

#include "model/arch/mixtures.h"
#include "model/arch/state_spaces.h"
#include "model/layers/gated_delta_net.h"
#include "model/layers/plain_decoder.h"

namespace sluice {
namespace {

constexpr ConfigKey kKeyHeads{"linear_num_key_heads", "ssm.group_count"}, kValueHeads{"linear_num_value_heads", "ssm.time_step_rank"};
constexpr ConfigKey kKeyDim{"linear_key_head_dim", "ssm.state_size"}, kValueDim{"linear_value_head_dim", ""};
constexpr ConfigKey kLinearInner{"", "ssm.inner_size"}, kLinearTaps{"linear_conv_kernel_dim", "ssm.conv_kernel"};
constexpr ConfigKey kFullAttentionInterval{"full_attention_interval", "full_attention_interval"};

Result<GatedDeltaConfig> read_delta(const ConfigReader& config, const DecoderConfig& d) {
  GatedDeltaConfig g;
  g.hidden = d.info.hidden;
  SLUICE_TRY(g.key_heads, config.integer(kKeyHeads, 1, kMaxHeads));
  SLUICE_TRY(g.value_heads, config.integer(kValueHeads, 1, kMaxHeads));
  if (g.value_heads % g.key_heads != 0)
    return config.invalid(kValueHeads, fmt::format("is {}; it must be a multiple of {}, {}", g.value_heads, config.name(kKeyHeads), g.key_heads));
  SLUICE_TRY(g.key_dim, config.integer(kKeyDim, 1, kMaxHeadDim));
  if (config.is_gguf()) {
    SLUICE_TRY(const int64_t inner, config.integer(kLinearInner, 1, kMaxWidth));
    if (inner % g.value_heads != 0) return config.invalid(kLinearInner, fmt::format("is {}; it must be a multiple of the {} heads", inner, g.value_heads));
    g.value_dim = inner / g.value_heads;
    config.note(kValueDim, g.value_dim);
  } else {
    SLUICE_TRY(g.value_dim, config.integer(kValueDim, 1, kMaxHeadDim));
    config.note(kLinearInner, g.values());
  }
  SLUICE_TRY(const int64_t taps, config.integer_or(kLinearTaps, 4, 2, 64));
  g.taps = static_cast<int>(taps);
  g.norm = d.norm;
  return g;
}

void name_tensors(TensorNames& names, const AttentionConfig& a) {
  const auto place = [](std::string_view rest) { return fmt::format("model.layers.{{}}.{}", rest); };
  const auto gain = [&](std::string_view key, std::string name) { names.hf(fmt::format("{}.weight", key), {.name = std::move(name), .plus = 1}); };
  gain("attn_norm", place("input_layernorm.weight"));
  gain("ffn_norm", place("post_attention_layernorm.weight"));
  gain("attn_q_norm", place("self_attn.q_norm.weight"));
  gain("attn_k_norm", place("self_attn.k_norm.weight"));
  gain("output_norm", "model.norm.weight");
  names.gguf["ffn_norm"] = {"post_attention_norm"};
  // A head's query and its gate follow each other.
  const int64_t dim = a.head_dim, all = int64_t{2} * a.heads * dim;
  for (auto* places : {&names.huggingface, &names.gguf}) {
    const std::string q = places == &names.gguf ? "attn_q" : place("self_attn.q_proj");
    (*places)["attn_q"] = {.name = q, .rows = {0, dim, 2 * dim}, .of_rows = all};
    (*places)["attn_gate"] = {.name = q, .rows = {dim, dim, 2 * dim}, .of_rows = all};
  }
  name_experts(names, "mlp");
  names.hf("ffn_gate_inp_shexp", {place("mlp.shared_expert_gate")})
      .hf("ffn_gate_shexp", {place("mlp.shared_expert.gate_proj")})
      .hf("ffn_up_shexp", {place("mlp.shared_expert.up_proj")})
      .hf("ffn_down_shexp", {place("mlp.shared_expert.down_proj")});
}

Result<Decoder> describe_qwen3next(const ConfigReader& config, const TensorSource& source) {
  SLUICE_TRY(PlainDecoder d, PlainDecoder::read(config, source,
                                                {.name = "qwen3next",
                                                 .gguf = {"qwen3next"},
                                                 .own_layer_types = true,
                                                 .rotary_factor = 0.25,
                                                 .head_dim = config.is_gguf() ? 0 : 256,
                                                 .computes = {"num_experts", "num_local_experts", "gguf.expert_count", "partial_rotary_factor"}}));
  SLUICE_TRY_STATUS(config.only({"attention_bias", ""}, false));
  SLUICE_TRY_STATUS(config.only({"decoder_sparse_step", ""}, int64_t{1}));
  d.attention.gated = true;
  d.attention.qk_norm = QkNorm::head;
  SLUICE_TRY(const GatedDeltaConfig delta, read_delta(config, d.config));
  SLUICE_TRY(MoeConfig moe, read_mixture(config, d.config,
                                         {.experts = {"num_experts", "expert_count"},
                                          .ffn = {"moe_intermediate_size", "expert_feed_forward_length"}}));
  SLUICE_TRY(moe.routing.renormalize, config.boolean_or({"norm_topk_prob", ""}, true));
  SLUICE_TRY(moe.shared_ffn, config.integer({"shared_expert_intermediate_size", "expert_shared_feed_forward_length"}, 1, kMaxWidth));
  moe.shared_gate = true;
  SLUICE_TRY(const int64_t interval, config.integer_or(kFullAttentionInterval, 4, 1, kMaxLayers));
  const std::vector<std::string>* listed = config.metadata().strings("layer_types");
  if (listed != nullptr && listed->size() != static_cast<size_t>(d.config.info.layers))
    return config.invalid({"layer_types", ""}, fmt::format("must be an array of {} names, one per layer", d.config.info.layers));
  const std::vector<std::string> types = listed != nullptr ? *listed : std::vector<std::string>();
  for (size_t l = 0; l < types.size(); ++l)
    config.cannot_be_said((types[l] == "full_attention") != ((static_cast<int64_t>(l) + 1) % interval == 0), fmt::format("layer {} is {}", l, types[l]));
  d.mixer = [=](int layer) -> std::unique_ptr<Mixer> {
    const bool attends = types.empty() ? (layer + 1) % interval == 0 : types[static_cast<size_t>(layer)] == "full_attention";
    if (attends) return nullptr;
    return std::make_unique<GatedDeltaNet>(delta);
  };
  d.ffn = [moe](int) { return std::make_unique<MoeLayer>(moe); };
  name_tensors(d.names, d.attention);
  name_gated_delta_net(d.names, delta, "model.layers.{}.linear_attn");
  return d.build();
}

}  // namespace

ModelArch qwen3next_arch() { return decoder_arch<describe_qwen3next>("qwen3next", {"Qwen3NextForCausalLM"}, {"qwen3next"}); }

}  // namespace sluice
