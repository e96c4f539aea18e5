// BitNet b1.58: Llama's layers of ternary matrices under one scale each. Every linear layer's input is normed, the attended values and
// the MLP's hidden ones too (sub-LN), and rounded to int8 row by row, which is part of the model and not of how it is stored.
// Ma et al. 2024, "The era of 1-bit LLMs: all large language models are in 1.58 bits"; Ma et al. 2025, "BitNet b1.58 2B4T technical
// report". GGUF calls the models with SiLU "bitnet", and those with squared ReLU "bitnet-b1.58".

#include "model/layers/plain_decoder.h"

namespace sluice {
namespace {

Result<Decoder> bitnet_like(const ConfigReader& config, const TensorSource& source, std::string_view gguf, std::string_view act) {
  DecoderDefaults defaults{.name = "bitnet", .gguf = {gguf}, .norm_eps = 1e-5, .rope_theta = 500000, .computes = {"hidden_act"}};
  SLUICE_TRY(PlainDecoder d, PlainDecoder::read(config, source, defaults));
  SLUICE_TRY(d.mlp.act, read_activation(config, {"hidden_act", ""}, act));
  config.cannot_be_said(!config.is_gguf() && config.metadata().string_or("hidden_act", act) != act, fmt::format("hidden_act is not {}", act));
  SLUICE_TRY(d.attention.qkv_bias, read_bias(config, "attention_bias"));
  if (d.attention.qkv_bias == Presence::required) return config.refused({"attention_bias", ""}, "is true; BitNet's matrices have none");
  d.attention.qkv_bias = Presence::absent;
  NormStyle rounded = d.config.norm;
  rounded.int8 = true;
  // Of the norms before linear layers, where it is another than the last norm's (bitllama2.c).
  SLUICE_TRY(const double eps, config.number_or({"", "attention.linear_norm_rms_epsilon"}, rounded.eps, 0.0, 1.0));
  rounded.eps = static_cast<float>(eps);
  d.attention.output_norm = d.mlp.hidden_norm = rounded;
  d.names.hf("attn_sub_norm", {"model.layers.{}.self_attn.attn_sub_norm"}).hf("ffn_sub_norm", {"model.layers.{}.mlp.ffn_sub_norm"});
  d.names.scales = true;
  Decoder out = d.build();
  for (DecoderLayer& layer : out.layers) {
    layer.mixer_norm = NormLayer("attn_norm", rounded, out.config.info.hidden);
    layer.ffn_norm = NormLayer("ffn_norm", rounded, out.config.info.hidden);
  }
  return out;
}

Result<Decoder> bitnet(const ConfigReader& config, const TensorSource& source) {
  return bitnet_like(config, source, "bitnet", "silu");
}
Result<Decoder> bitnet_b158(const ConfigReader& config, const TensorSource& source) {
  return bitnet_like(config, source, "bitnet-b1.58", "relu2");
}

}  // namespace

ModelArch bitnet_arch() { return decoder_arch<bitnet>("bitnet", {}, {"bitnet"}); }
ModelArch bitnet_b158_arch() { return decoder_arch<bitnet_b158>("bitnet-b1.58", {"BitNetForCausalLM"}, {"bitnet-b1.58"}); }

}  // namespace sluice
