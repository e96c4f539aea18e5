// Phi-1.5 and Phi-2: attention and a plain MLP of the same normed input, half of each head rotated, biases everywhere. Phi-3 and 4:
// Llama's shape with fused tensors, longrope for contexts beyond the original one, and, in Phi-4-mini, part of each head rotated.
// Li et al. 2023, "Textbooks are all you need II"; Abdin et al. 2024, "Phi-3 technical report"; 2024, "Phi-4 technical report".

#include "model/layers/plain_decoder.h"

namespace sluice {
namespace {

Result<Decoder> phi2(const ConfigReader& config, const TensorSource& source) {
  DecoderDefaults defaults{.name = "phi2",
                           .gguf = {"phi2"},
                           .norm = Norm::Kind::layer,
                           .norm_eps = 1e-5,
                           .rotary_factor = 0.5,
                           .ffn = -4,
                           .computes = {"hidden_act"}};
  defaults.keys.norm_eps = {"layer_norm_eps", "attention.layer_norm_epsilon"};
  SLUICE_TRY(PlainDecoder d, PlainDecoder::read(config, source, defaults));
  SLUICE_TRY_STATUS(config.only({"qk_layernorm", ""}, false));
  SLUICE_TRY(d.mlp.act, read_activation(config, {"hidden_act", ""}, "gelu_new"));
  d.mlp.gated = false;
  d.mlp.bias = d.attention.qkv_bias = d.attention.output_bias = Presence::required;
  d.parallel = d.one_norm = true;
  d.names.hf("attn_output", {"model.layers.{}.self_attn.dense"})
      .hf("ffn_up", {"model.layers.{}.mlp.fc1"})
      .hf("ffn_down", {"model.layers.{}.mlp.fc2"})
      .hf("output_norm", {"model.final_layernorm"});
  if (source.find("blk.0.attn_qkv.weight") != nullptr) fuse_qkv(d.names.gguf, "attn_qkv", d.attention);
  Decoder out = d.build();
  out.head_bias = Presence::required;
  return out;
}

Result<Decoder> phi3(const ConfigReader& config, const TensorSource& source) {
  SLUICE_TRY(PlainDecoder d, PlainDecoder::read(config, source,
                                                {.name = "phi3",
                                                 .gguf = {"phi3"},
                                                 .norm_eps = 1e-5,
                                                 .longrope_in_gguf = true,
                                                 .window = WindowRule::all_layers,
                                                 .computes = {"partial_rotary_factor"}}));
  fuse_qkv(d.names.huggingface, "model.layers.{}.self_attn.qkv_proj", d.attention);
  fuse_gate_up(d.names.huggingface, "model.layers.{}.mlp.gate_up_proj", d.config.info.ffn);
  fuse_qkv(d.names.gguf, "attn_qkv", d.attention);
  fuse_gate_up(d.names.gguf, "ffn_up", d.config.info.ffn);
  return d.build();
}

}  // namespace

ModelArch phi2_arch() { return decoder_arch<phi2>("phi2", {"PhiForCausalLM"}, {"phi2"}); }
ModelArch phi3_arch() { return decoder_arch<phi3>("phi3", {"Phi3ForCausalLM"}, {"phi3"}); }

}  // namespace sluice
