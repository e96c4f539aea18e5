// Nemotron and Minitron: layer norms whose gains are stored as their difference from 1, a plain MLP of squared ReLU, half of each head
// rotated.
// Parmar et al. 2024, "Nemotron-4 15B technical report".

#include "model/layers/plain_decoder.h"

namespace sluice {
namespace {

Result<Decoder> describe_nemotron(const ConfigReader& config, const TensorSource& source) {
  DecoderDefaults defaults{.name = "nemotron",
                           .gguf = {"nemotron"},
                           .norm = Norm::Kind::layer,
                           .norm_eps = 1e-5,
                           .rotary_factor = 0.5,
                           .computes = {"hidden_act"}};
  defaults.keys.norm_eps = {"norm_eps", "attention.layer_norm_epsilon"};
  SLUICE_TRY(PlainDecoder d, PlainDecoder::read(config, source, defaults));
  SLUICE_TRY(d.mlp.act, read_activation(config, {"hidden_act", ""}, "relu2"));
  d.mlp.gated = false;
  SLUICE_TRY(d.mlp.bias, read_bias(config, "mlp_bias"));
  SLUICE_TRY(d.attention.qkv_bias, read_bias(config, "attention_bias"));
  d.attention.output_bias = d.attention.qkv_bias;
  for (const char* norm : {"attn_norm", "ffn_norm", "output_norm"}) {
    const Place gain = d.names.huggingface[norm];
    d.names.hf(std::string(norm) + ".weight", {.name = gain.name + ".weight", .plus = 1});
  }
  return d.build();
}

}  // namespace

ModelArch nemotron_arch() { return decoder_arch<describe_nemotron>("nemotron", {"NemotronForCausalLM"}, {"nemotron"}); }

}  // namespace sluice
