// OLMo: norms without gains, q, k and v clipped. OLMo 2: norms of what each part adds, and of q and k as a whole. OLMoE: that norm
// and the clipping, with a mixture of experts.
// Groeneveld et al. 2024, "OLMo"; Team OLMo 2024, "2 OLMo 2 Furious"; Muennighoff et al. 2024, "OLMoE".

#include "model/arch/mixtures.h"
#include "model/layers/plain_decoder.h"

namespace sluice {
namespace {

constexpr std::string_view kThird = "Olmo3ForCausalLM";
constexpr ConfigKey kClip{"clip_qkv", "attention.clamp_kqv"};

Result<float> read_clip(const ConfigReader& config) {
  SLUICE_TRY(const double clip, config.number_or(kClip, 0.0, 0.0, 1e9));
  if (clip == 0) config.forget(kClip);
  return static_cast<float>(clip);
}

Result<Decoder> olmo(const ConfigReader& config, const TensorSource& source) {
  DecoderDefaults defaults{.name = "olmo",
                           .gguf = {"olmo", RopeStyle::interleaved},
                           .norm = Norm::Kind::layer,
                           .norm_eps = 1e-5,
                           .computes = {kClip.hf}};
  defaults.keys.norm_eps = {"", "attention.layer_norm_epsilon"};
  SLUICE_TRY(PlainDecoder d, PlainDecoder::read(config, source, defaults));
  d.config.norm.gain = d.config.norm.bias = Presence::absent;
  SLUICE_TRY(d.attention.clip_qkv, read_clip(config));
  SLUICE_TRY(d.attention.qkv_bias, read_bias(config, "attention_bias"));
  d.attention.output_bias = d.attention.qkv_bias;
  return d.build();
}

// OLMo 3 is OLMo 2 with windows in three layers of four, whose rotation is not stretched. Its GGUF is an "olmo2" with a window.
Result<Decoder> olmo2(const ConfigReader& config, const TensorSource& source) {
  DecoderDefaults defaults{.name = "olmo2", .gguf = {"olmo2"}, .norm_eps = 1e-5, .rope_theta = 10000};
  const bool third = config.is_gguf() ? config.has({"", "attention.sliding_window"}) : config.metadata().architecture() == kThird;
  if (third) {
    defaults.gguf.one_window = false;
    defaults.plain_local_rope = true;
    defaults.window = WindowRule::by_type;
    defaults.window_period = 4, defaults.window_full = 3;
    defaults.sliding_window = 4096;
    defaults.rope_theta = 500000;
    defaults.computes = {"gguf.attention.sliding_window_pattern"};
  }
  SLUICE_TRY(PlainDecoder d, PlainDecoder::read(config, source, defaults));
  if (third) d.config.hf_architecture = kThird;
  SLUICE_TRY(d.attention.qkv_bias, read_bias(config, "attention_bias"));
  d.attention.output_bias = d.attention.qkv_bias;
  d.attention.qk_norm = QkNorm::width;
  d.norms = NormPlace::after;
  d.names.hf("post_attention_norm", {"model.layers.{}.post_attention_layernorm"})
      .hf("post_ffw_norm", {"model.layers.{}.post_feedforward_layernorm"});
  return d.build();
}

Result<Decoder> olmoe(const ConfigReader& config, const TensorSource& source) {
  SLUICE_TRY(PlainDecoder d, PlainDecoder::read(config, source,
                                                {.name = "olmoe",
                                                 .gguf = {"olmoe"},
                                                 .norm_eps = 1e-5,
                                                 .computes = {kClip.hf, "num_experts", "gguf.expert_count"}}));
  SLUICE_TRY(d.attention.clip_qkv, read_clip(config));
  SLUICE_TRY(d.attention.qkv_bias, read_bias(config, "attention_bias"));
  d.attention.output_bias = d.attention.qkv_bias;
  d.attention.qk_norm = QkNorm::width;
  SLUICE_TRY(MoeConfig moe, read_mixture(config, d.config, {.experts = {"num_experts", "expert_count"}}));
  SLUICE_TRY(moe.routing.renormalize, config.boolean_or({"norm_topk_prob", ""}, false));
  config.cannot_be_said(moe.routing.renormalize, "norm_topk_prob is true");
  d.ffn = [moe](int) { return std::make_unique<MoeLayer>(moe); };
  name_experts(d.names, "mlp");
  return d.build();
}

}  // namespace

ModelArch olmo_arch() { return decoder_arch<olmo>("olmo", {"OlmoForCausalLM"}, {"olmo"}); }
ModelArch olmo2_arch() { return decoder_arch<olmo2>("olmo2", {"Olmo2ForCausalLM", "Olmo3ForCausalLM"}, {"olmo2"}); }
ModelArch olmoe_arch() { return decoder_arch<olmoe>("olmoe", {"OlmoeForCausalLM"}, {"olmoe"}); }

}  // namespace sluice
