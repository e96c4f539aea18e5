// StableLM 3B and 2: layer norms around Llama's parts, a quarter of each head rotated; the 12B model computes attention and MLP of
// the same input and norms each head of q and k.
// Bellagente et al. 2024, "Stable LM 2 1.6B technical report".

#include "model/layers/plain_decoder.h"

namespace sluice {
namespace {

constexpr ConfigKey kOldEps{"norm_eps", ""}, kOldFactor{"rope_pct", ""};

Result<Decoder> describe_stablelm(const ConfigReader& config, const TensorSource& source) {
  DecoderDefaults defaults{.name = "stablelm",
                           .gguf = {"stablelm"},
                           .norm = Norm::Kind::layer,
                           .norm_eps = 1e-5,
                           .rotary_factor = 0.25,
                           .computes = {"qk_layernorm", "gguf.use_parallel_residual"}};
  defaults.keys.norm_eps = {"layer_norm_eps", "attention.layer_norm_epsilon"};
  // The first files' own names.
  if (config.has(kOldEps)) defaults.keys.norm_eps.hf = kOldEps.hf;
  SLUICE_TRY(defaults.rotary_factor, config.number_or(kOldFactor, defaults.rotary_factor, 0.0, 1.0));
  config.forget(kOldFactor);
  SLUICE_TRY_STATUS(config.only({"rotary_scaling_factor", ""}, 1.0));
  SLUICE_TRY(PlainDecoder d, PlainDecoder::read(config, source, defaults));
  SLUICE_TRY(d.attention.qkv_bias, read_bias(config, "use_qkv_bias"));
  SLUICE_TRY(d.parallel, config.boolean_or({"use_parallel_residual", "use_parallel_residual"}, false));
  d.one_norm = d.parallel;
  SLUICE_TRY(bool norms, config.boolean_or({"qk_layernorm", ""}, false));
  if (config.is_gguf()) {
    norms = source.find("blk.0.attn_q_norm.weight") != nullptr;
    config.note({"qk_layernorm", ""}, norms);
  }
  if (norms) {
    d.attention.qk_norm = QkNorm::every_head;
    d.names.hf("attn_q_norm", {"model.layers.{}.self_attn.q_layernorm.norms.{e}"})
        .hf("attn_k_norm", {"model.layers.{}.self_attn.k_layernorm.norms.{e}"});
  }
  return d.build();
}

}  // namespace

ModelArch stablelm_arch() {
  return decoder_arch<describe_stablelm>("stablelm", {"StableLmForCausalLM", "StableLMEpochForCausalLM"}, {"stablelm"});
}

}  // namespace sluice
