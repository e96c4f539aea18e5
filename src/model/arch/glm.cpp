// ChatGLM 2 and 3, GLM-4 in both of its forms: half of each head is rotated, neighbour with neighbour; gate and up are one tensor.
// The last one (glm4) also norms what each part adds.
// Du et al. 2022, "GLM"; Team GLM 2024, "ChatGLM: a family of large language models".

#include "model/layers/plain_decoder.h"

namespace sluice {
namespace {

DecoderDefaults common(std::string_view name, std::string_view gguf) {
  return {.name = name, .gguf = {gguf, RopeStyle::interleaved}, .hf_rope = RopeStyle::interleaved, .rotary_factor = 0.5};
}

// A GGUF of these has q, k and v as three tensors or as one.
void fuse_gguf(PlainDecoder& d, const TensorSource& source) {
  if (source.find("blk.0.attn_qkv.weight") != nullptr) fuse_qkv(d.names.gguf, "attn_qkv", d.attention);
  fuse_gate_up(d.names.gguf, "ffn_up", d.config.info.ffn);
}

Result<PlainDecoder> read_glm(const ConfigReader& config, const TensorSource& source, DecoderDefaults defaults) {
  if (!config.is_gguf()) defaults.head_dim = 128;
  SLUICE_TRY(PlainDecoder d, PlainDecoder::read(config, source, defaults));
  SLUICE_TRY(d.attention.qkv_bias, read_bias(config, "attention_bias", true));
  fuse_gguf(d, source);
  fuse_gate_up(d.names.huggingface, "model.layers.{}.mlp.gate_up_proj", d.config.info.ffn);
  return d;
}

Result<Decoder> glm(const ConfigReader& config, const TensorSource& source) {
  DecoderDefaults defaults = common("glm", "chatglm");
  defaults.norm_eps = 1.5625e-7;
  SLUICE_TRY(const PlainDecoder d, read_glm(config, source, defaults));
  return d.build();
}

Result<Decoder> glm4(const ConfigReader& config, const TensorSource& source) {
  DecoderDefaults defaults = common("glm4", "glm4");
  defaults.norm_eps = 1.5625e-7;
  SLUICE_TRY(PlainDecoder d, read_glm(config, source, defaults));
  d.norms = NormPlace::sandwich;
  d.names.hf("post_attention_norm", {"model.layers.{}.post_self_attn_layernorm"})
      .hf("post_ffw_norm", {"model.layers.{}.post_mlp_layernorm"});
  return d.build();
}

Status check_chatglm(const ConfigReader& config) {
  const std::pair<std::string_view, MetadataValue> only[] = {
      {"rmsnorm", true},          {"multi_query_attention", true}, {"add_bias_linear", false},
      {"post_layer_norm", true},  {"apply_residual_connection_post_layernorm", false}};
  for (const auto& [key, value] : only) SLUICE_TRY_STATUS(config.only({key, ""}, value));
  return {};
}

// The authors' own files, which call everything differently.
Result<Decoder> chatglm(const ConfigReader& config, const TensorSource& source) {
  SLUICE_TRY_STATUS(check_chatglm(config));
  SLUICE_TRY(const double ratio, config.number_or({"rope_ratio", ""}, 1.0, 1e-6, 1e6));
  DecoderDefaults defaults = common("chatglm", "chatglm");
  defaults.keys.ffn.hf = "ffn_hidden_size";
  defaults.keys.layers.hf = "num_layers";
  defaults.keys.kv_heads.hf = "multi_query_group_num";
  defaults.keys.positions.hf = "seq_length";
  defaults.keys.norm_eps.hf = "layernorm_epsilon";
  defaults.keys.head_dim.hf = "kv_channels";
  defaults.keys.vocab.hf = "padded_vocab_size";
  defaults.norm_eps = 1e-5;
  defaults.rope_theta = 10000 * ratio;
  SLUICE_TRY(PlainDecoder d, PlainDecoder::read(config, source, defaults));
  SLUICE_TRY(d.attention.qkv_bias, read_bias(config, "add_qkv_bias"));
  if (config.is_gguf()) {  // the authors' code reads the base as a multiple of 10000, and nothing else
    const double theta = d.config.rope->settings.theta;
    config.note({"rope_ratio", ""}, theta / 10000);
    config.forget(defaults.keys.theta);
    config.note({"", defaults.keys.theta.gguf}, theta);
    config.note({"multi_query_attention", ""}, true);
  }
  fuse_gguf(d, source);
  const std::string at = "transformer.encoder.layers.{}.";
  d.names.hf("token_embd", {"transformer.embedding.word_embeddings"})
      .hf("attn_norm", {at + "input_layernorm"})
      .hf("attn_output", {at + "self_attention.dense"})
      .hf("ffn_norm", {at + "post_attention_layernorm"})
      .hf("ffn_down", {at + "mlp.dense_4h_to_h"})
      .hf("output_norm", {"transformer.encoder.final_layernorm"})
      .hf("output", {"transformer.output_layer"});
  fuse_qkv(d.names.huggingface, at + "self_attention.query_key_value", d.attention);
  fuse_gate_up(d.names.huggingface, at + "mlp.dense_h_to_4h", d.config.info.ffn);
  return d.build();
}

}  // namespace

ModelArch glm_arch() { return decoder_arch<glm>("glm", {"GlmForCausalLM"}, {}); }
ModelArch glm4_arch() { return decoder_arch<glm4>("glm4", {"Glm4ForCausalLM"}, {"glm4"}); }
ModelArch chatglm_arch() {
  return decoder_arch<chatglm>("chatglm", {"ChatGLMModel", "ChatGLMForConditionalGeneration", "ChatGLMForCausalLM"}, {"chatglm"});
}

}  // namespace sluice
