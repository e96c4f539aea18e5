// Nemotron-H and Nemotron 3: layers of one norm and one part each, which is a Mamba 2 mixer, attention without rotation, an MLP of
// squared ReLU, or a mixture of such.
// NVIDIA 2025, "Nemotron-H"; "Nemotron 3 Nano".

#include "model/arch/mixtures.h"
#include "model/arch/state_spaces.h"
#include "model/layers/plain_decoder.h"

namespace sluice {
namespace {

constexpr Mamba2Keys kNemotronKeys{"mamba_num_heads", "mamba_head_dim", "n_groups", "ssm_state_size", "conv_kernel", "use_bias", "use_conv_bias", 8, "expand"};
constexpr ConfigKey kNemotronPattern{"hybrid_override_pattern", ""}, kNemotronTypes{"layers_block_type", ""}, kNemotronFfn{"", "feed_forward_length"};

/// One letter per layer, as the pattern has them: M, * (attention), - (MLP), E (experts).
Result<std::string> read_pattern(const ConfigReader& config, const TensorSource& source, const DecoderConfig& d) {
  std::string pattern;
  if (config.is_gguf()) {
    for (int l = 0; l < d.info.layers; ++l) {
      const auto has = [&](std::string_view name) { return source.find(fmt::format("blk.{}.{}.weight", l, name)) != nullptr; };
      pattern += has("ssm_in") ? 'M' : has("attn_q") ? '*' : has("ffn_gate_inp") ? 'E' : '-';
    }
    config.note(kNemotronPattern, pattern);
    return pattern;
  }
  if (const std::vector<std::string>* types = config.metadata().strings(kNemotronTypes.hf)) {
    for (const std::string& type : *types)
      pattern += type == "mamba" || type == "linear_attention" ? 'M'
                 : type == "attention" || type == "full_attention" ? '*'
                 : type == "mlp" ? '-' : type == "moe" ? 'E' : '?';
  } else {
    SLUICE_TRY(pattern, config.string_or(kNemotronPattern, ""));
  }
  const ConfigKey key = config.has(kNemotronTypes) ? kNemotronTypes : kNemotronPattern;
  if (pattern.size() != static_cast<size_t>(d.info.layers) || pattern.find_first_not_of("M*-E") != std::string::npos)
    return config.invalid(key, fmt::format("must name mamba, attention, mlp or moe (M, *, -, E) for each of {} layers", d.info.layers));
  return pattern;
}

Result<MoeConfig> read_experts(const ConfigReader& config, const DecoderConfig& d) {
  SLUICE_TRY(MoeConfig moe, read_mixture(config, d, {.experts = {"n_routed_experts", "expert_count"},
                                                     .ffn = {"moe_intermediate_size", "expert_feed_forward_length"}}));
  if (!config.is_null({"moe_latent_size", ""})) SLUICE_TRY_STATUS(config.only({"moe_latent_size", ""}, int64_t{0}));
  SLUICE_TRY_STATUS(config.only({"n_shared_experts", "expert_shared_count"}, int64_t{1}));
  SLUICE_TRY(moe.shared_ffn, config.integer({"moe_shared_expert_intermediate_size", "expert_shared_feed_forward_length"}, 1, kMaxWidth));
  SLUICE_TRY(const int64_t groups, config.integer_or({"n_group", "expert_group_count"}, 1, 1, moe.routing.experts));
  SLUICE_TRY(const int64_t top_groups, config.integer_or({"topk_group", "expert_group_used_count"}, 1, 1, groups));
  SLUICE_TRY(const double scale, config.number_or({"routed_scaling_factor", "expert_weights_scale"}, 1.0, 1e-9, 1e9));
  SLUICE_TRY(moe.routing.renormalize, config.boolean_or({"norm_topk_prob", "expert_weights_norm"}, true));
  if (moe.routing.experts % groups != 0)
    return config.invalid({"n_group", "expert_group_count"}, fmt::format("is {}; it must divide the {} experts", groups, moe.routing.experts));
  config.note({"n_shared_experts", "expert_shared_count"}, int64_t{1});
  moe.routing.score = Routing::Score::sigmoid;
  moe.routing.groups = static_cast<int>(groups), moe.routing.top_groups = static_cast<int>(top_groups);
  moe.routing.group_score = Routing::GroupScore::best_two;
  moe.routing.scale = static_cast<float>(scale);
  moe.selection_bias = Presence::required;
  moe.act = Activation::relu2, moe.gated = false;
  return moe;
}

Result<Decoder> describe_nemotron_h(const ConfigReader& config, const TensorSource& source) {
  const bool mixture = config.is_gguf() && config.metadata().architecture() == "nemotron_h_moe";
  DecoderDefaults defaults{.name = "nemotron_h", .gguf = {mixture ? "nemotron_h_moe" : "nemotron_h"}, .norm_eps = 1e-5, .rope = false,
                           .own_layer_types = true, .own_ffn = true, .head_dim = config.is_gguf() ? 0 : 128, .positions = 1 << 20,
                           .computes = {"n_routed_experts", "num_experts", "num_local_experts", "gguf.expert_count"}};
  defaults.keys.norm_eps = {"layer_norm_epsilon", "attention.layer_norm_epsilon"};
  if (config.is_gguf() && config.has({"", "attention.layer_norm_rms_epsilon"})) defaults.keys.norm_eps.gguf = "attention.layer_norm_rms_epsilon";
  SLUICE_TRY_STATUS(expect_kv_heads_by_layer(config, defaults));
  SLUICE_TRY(PlainDecoder d, PlainDecoder::read(config, source, defaults));
  const DecoderConfig& c = d.config;
  SLUICE_TRY(const std::string pattern, read_pattern(config, source, c));
  SLUICE_TRY(const std::vector<bool> attends, read_attending(config, c, [&](int l) { return pattern[static_cast<size_t>(l)] == '*'; }));
  SLUICE_TRY(const Mamba2Config mamba, read_mamba2(config, c, kNemotronKeys));
  AttentionConfig attention = d.attention;
  SLUICE_TRY(attention.qkv_bias, read_bias(config, "attention_bias"));
  attention.output_bias = attention.qkv_bias;
  MlpConfig mlp = d.mlp;
  mlp.act = Activation::relu2, mlp.gated = false;
  SLUICE_TRY_STATUS(config.only({"mlp_hidden_act", ""}, std::string("relu2")));
  SLUICE_TRY_STATUS(config.only({"mamba_hidden_act", ""}, std::string("silu")));
  SLUICE_TRY(mlp.bias, read_bias(config, "mlp_bias"));
  MoeConfig moe;
  if (pattern.find('E') != std::string::npos) {
    SLUICE_TRY(moe, read_experts(config, c));
    d.config.gguf.arch = "nemotron_h_moe";
  }
  std::vector<int64_t> widths;
  for (size_t l = 0; l < pattern.size(); ++l) {
    if (pattern[l] == '-' && mlp.ffn == 0) {
      const TensorInfo* up = source.find(fmt::format("blk.{}.ffn_up.weight", l));
      if (config.is_gguf() && up != nullptr) mlp.ffn = up->shape[0], config.note({"intermediate_size", ""}, mlp.ffn);
      else {
        SLUICE_TRY(mlp.ffn, config.integer({"intermediate_size", "feed_forward_length"}, 1, kMaxWidth * 4));
        config.forget({"intermediate_size", "feed_forward_length"});
      }
      d.config.info.ffn = mlp.ffn;
    }
    widths.push_back(pattern[l] == '-' ? mlp.ffn : pattern[l] == 'E' ? moe.ffn : 0);
  }
  config.note(kNemotronFfn, widths);

  const std::string at = "backbone.layers.{}.mixer";
  TensorNames names;
  names.hf("token_embd", {"backbone.embeddings"}).hf("output_norm", {"backbone.norm_f"}).hf("output", {"lm_head"});
  names.hf("attn_norm", {"backbone.layers.{}.norm"});
  for (const auto& [key, name] : {std::pair{"attn_q", "q_proj"}, {"attn_k", "k_proj"}, {"attn_v", "v_proj"}, {"attn_output", "o_proj"},
                                  {"ffn_up", "up_proj"}, {"ffn_down", "down_proj"}, {"ffn_gate_inp", "gate"},
                                  {"ffn_up_exps", "experts.{e}.up_proj"}, {"ffn_down_exps", "experts.{e}.down_proj"},
                                  {"ffn_up_shexp", "shared_experts.up_proj"}, {"ffn_down_shexp", "shared_experts.down_proj"}})
    names.hf(key, {fmt::format("{}.{}", at, name)});
  names.hf("exp_probs_b.bias", {at + ".gate.e_score_correction_bias"});
  name_mamba2(names, mamba, at);

  Decoder out;
  out.config = d.config;
  out.names = std::move(names);
  out.final_norm = NormLayer("output_norm", c.norm, c.info.hidden);
  for (const char part : pattern) {
    DecoderLayer& layer = out.layers.emplace_back();
    const NormLayer norm("attn_norm", c.norm, c.info.hidden);
    (part == 'M' || part == '*' ? layer.mixer_norm : layer.ffn_norm) = norm;
    if (part == 'M') layer.mixer = std::make_unique<Mamba2Mixer>(mamba);
    if (part == '*') layer.mixer = std::make_unique<Attention>(attention);
    if (part == '-') layer.ffn = std::make_unique<MlpLayer>(mlp);
    if (part == 'E') layer.ffn = std::make_unique<MoeLayer>(moe);
  }
  return out;
}

}  // namespace

ModelArch nemotron_h_arch() { return decoder_arch<describe_nemotron_h>("nemotron_h", {"NemotronHForCausalLM"}, {"nemotron_h", "nemotron_h_moe"}); }

}  // namespace sluice
