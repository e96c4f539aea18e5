// Falcon-H1: in every layer attention and a Mamba 2 mixer side by side, and factors on everything that is projected. In a GGUF the
// factors are in the weights.
// Zuo et al. 2025, "Falcon-H1".

#include "model/arch/state_spaces.h"
#include "model/layers/plain_decoder.h"

namespace sluice {
namespace {

struct FalconH1Factors {
  double embedding = 1, head = 1, key = 1, attention_in = 1, attention_out = 1, ssm_in = 1, ssm_out = 1;
  std::vector<double> mlp{1, 1}, ssm{1, 1, 1, 1, 1};  // gate, down; z, x, B, C, dt
};

Result<FalconH1Factors> read_factors(const ConfigReader& config) {
  FalconH1Factors f;
  if (config.is_gguf()) return f;
  for (const auto& [name, to] : {std::pair{"embedding_multiplier", &f.embedding}, {"lm_head_multiplier", &f.head}, {"key_multiplier", &f.key},
                                 {"attention_in_multiplier", &f.attention_in}, {"attention_out_multiplier", &f.attention_out},
                                 {"ssm_in_multiplier", &f.ssm_in}, {"ssm_out_multiplier", &f.ssm_out}}) {
    SLUICE_TRY(*to, config.number_or({name, ""}, 1.0, -1e9, 1e9));
  }
  if (config.has({"mlp_multipliers", ""})) {
    SLUICE_TRY(f.mlp, config.numbers({"mlp_multipliers", ""}, 2, -1e9, 1e9));
  }
  if (config.has({"ssm_multipliers", ""})) {
    SLUICE_TRY(f.ssm, config.numbers({"ssm_multipliers", ""}, 5, -1e9, 1e9));
  }
  return f;
}

Result<Mamba2Config> read_falcon_h1_mixer(const ConfigReader& config, const TensorSource& source, const DecoderConfig& d, const FalconH1Factors& f) {
  SLUICE_TRY(Mamba2Config m, read_mamba2(config, d, {}));
  for (const double factor : f.ssm) m.scales.push_back(static_cast<float>(factor));
  m.input_scale = static_cast<float>(f.ssm_in), m.output_scale = static_cast<float>(f.ssm_out);
  SLUICE_TRY_STATUS(config.only({"mamba_proj_bias", ""}, false));
  SLUICE_TRY_STATUS(config.only({"projectors_bias", ""}, false));
  SLUICE_TRY(bool normed, config.boolean_or({"mamba_rms_norm", ""}, true));
  SLUICE_TRY(m.norm_before_gate, config.boolean_or({"mamba_norm_before_gate", ""}, !config.is_gguf()));
  if (config.is_gguf()) {
    normed = source.find("blk.0.ssm_norm.weight") != nullptr;
    config.note({"mamba_rms_norm", ""}, normed);
    config.note({"mamba_d_ssm", ""}, m.inner());
  }
  if (!normed) m.norm.kind = Norm::Kind::none;
  return m;
}

Result<Decoder> describe_falcon_h1(const ConfigReader& config, const TensorSource& source) {
  DecoderDefaults defaults{.name = "falcon_h1", .gguf = {"falcon-h1"}, .norm_eps = 1e-5, .own_layer_types = true,
                           .computes = {"embedding_multiplier"}};
  SLUICE_TRY(PlainDecoder d, PlainDecoder::read(config, source, defaults));
  SLUICE_TRY_STATUS(config.only({"attention_bias", ""}, false));
  SLUICE_TRY_STATUS(config.only({"mlp_bias", ""}, false));
  SLUICE_TRY(const FalconH1Factors f, read_factors(config));
  SLUICE_TRY(const Mamba2Config mixer, read_falcon_h1_mixer(config, source, d.config, f));
  d.attention.scale *= static_cast<float>(f.attention_in * f.attention_in * f.key);
  if (!(d.attention.scale > 1e-9f && d.attention.scale < 1e9f))
    return config.invalid({"key_multiplier", ""}, fmt::format("is {} and attention_in_multiplier {}; scores cannot be scaled by {}", f.key, f.attention_in,
                                                              d.attention.scale));
  d.attention.output_scale = static_cast<float>(f.attention_in * f.attention_out);
  d.mlp.gate_scale = static_cast<float>(f.mlp[0]), d.mlp.down_scale = static_cast<float>(f.mlp[1]);
  const std::string at = "model.layers.{}.";
  name_mamba2(d.names, mixer, at + "mamba");
  d.names.hf("ffn_norm", {at + "pre_ff_layernorm"}).hf("output_norm", {"model.final_layernorm"});
  for (const char* part : {"gate", "up", "down"}) d.names.hf(fmt::format("ffn_{}", part), {fmt::format("{}feed_forward.{}_proj", at, part)});
  d.names.gguf["ffn_norm.weight"] = {"ffn_norm"};
  Decoder out = d.build();
  for (DecoderLayer& layer : out.layers) layer.second_mixer = std::make_unique<Mamba2Mixer>(mixer);
  out.embedding_scale = static_cast<float>(f.embedding);
  out.logit_scale = static_cast<float>(f.head);
  const bool plain = f.embedding == 1 && f.head == 1 && f.key == 1 && f.attention_in == 1 && f.attention_out == 1 && f.ssm_in == 1 &&
                     f.ssm_out == 1 && f.mlp == FalconH1Factors().mlp && f.ssm == FalconH1Factors().ssm;
  config.cannot_be_said(!plain, "the multipliers stand beside the weights");
  return out;
}

}  // namespace

ModelArch falcon_h1_arch() { return decoder_arch<describe_falcon_h1>("falcon_h1", {"FalconH1ForCausalLM"}, {"falcon-h1"}); }

}  // namespace sluice
