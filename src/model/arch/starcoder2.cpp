// StarCoder2: rotary attention with biases, layer norms, a plain MLP, and in some sizes a window.
// Lozhkov et al. 2024, "StarCoder 2 and The Stack v2".

#include "model/layers/plain_decoder.h"

namespace sluice {
namespace {

Result<Decoder> describe_starcoder2(const ConfigReader& config, const TensorSource& source) {
  DecoderDefaults defaults{.name = "starcoder2",
                           .gguf = {"starcoder2"},
                           .norm = Norm::Kind::layer,
                           .norm_eps = 1e-5,
                           .window = WindowRule::all_layers,
                           .tied = true,
                           .computes = {"hidden_act", "activation_function"}};  // the files have both, and only the first is meant
  defaults.keys.norm_eps = {"norm_epsilon", "attention.layer_norm_epsilon"};
  SLUICE_TRY(PlainDecoder d, PlainDecoder::read(config, source, defaults));
  SLUICE_TRY(d.mlp.act, read_activation(config, {"hidden_act", ""}, "gelu_pytorch_tanh"));
  d.mlp.gated = false;
  SLUICE_TRY(d.mlp.bias, read_bias(config, "use_bias", true));
  d.attention.qkv_bias = d.attention.output_bias = d.mlp.bias;
  d.names.hf("ffn_up", {"model.layers.{}.mlp.c_fc"}).hf("ffn_down", {"model.layers.{}.mlp.c_proj"});
  return d.build();
}

}  // namespace

ModelArch starcoder2_arch() { return decoder_arch<describe_starcoder2>("starcoder2", {"Starcoder2ForCausalLM"}, {"starcoder2"}); }

}  // namespace sluice
