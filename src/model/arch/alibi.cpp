// The families that bias scores by distance instead of rotating (ALiBi, Press et al. 2022): BLOOM and MPT.
// BigScience Workshop 2022, "BLOOM"; MosaicML 2023, "Introducing MPT-7B".

#include "model/layers/plain_decoder.h"

namespace sluice {
namespace {

Result<Decoder> bloom(const ConfigReader& config, const TensorSource& source) {
  DecoderDefaults defaults{.name = "bloom",
                           .gguf = {"bloom"},
                           .norm = Norm::Kind::layer,
                           .norm_eps = 1e-5,
                           .rope = false,
                           .ffn = -4,
                           .positions = 2048,
                           .tied = true};
  defaults.keys.hidden.hf = config.has({"n_embed", ""}) ? "n_embed" : "hidden_size";
  defaults.keys.layers.hf = config.has({"n_layer", ""}) ? "n_layer" : "num_hidden_layers";
  defaults.keys.heads.hf = config.has({"n_head", ""}) ? "n_head" : "num_attention_heads";
  defaults.keys.kv_heads.hf = defaults.keys.head_dim.hf = "";
  defaults.keys.positions.hf = config.has({"seq_length", ""}) ? "seq_length" : "max_position_embeddings";
  defaults.keys.norm_eps = {"layer_norm_epsilon", "attention.layer_norm_epsilon"};
  SLUICE_TRY_STATUS(config.only({"apply_residual_connection_post_layernorm", ""}, false));
  SLUICE_TRY(PlainDecoder d, PlainDecoder::read(config, source, defaults));
  d.mlp.act = Activation::gelu_tanh;
  d.mlp.gated = false;
  d.mlp.bias = d.attention.qkv_bias = d.attention.output_bias = Presence::required;
  d.attention.alibi = alibi_slopes(d.attention.heads);
  const std::string at = "transformer.h.{}.";
  d.names.hf("token_embd", {"transformer.word_embeddings"})
      .hf("token_embd_norm", {"transformer.word_embeddings_layernorm"})
      .hf("attn_norm", {at + "input_layernorm"})
      .hf("attn_output", {at + "self_attention.dense"})
      .hf("ffn_norm", {at + "post_attention_layernorm"})
      .hf("ffn_up", {at + "mlp.dense_h_to_4h"})
      .hf("ffn_down", {at + "mlp.dense_4h_to_h"})
      .hf("output_norm", {"transformer.ln_f"});
  d.names.optional_prefixes = {"transformer."};
  const int64_t dim = d.attention.head_dim;
  int64_t part = 0;
  for (const char* key : {"attn_q", "attn_k", "attn_v"})
    d.names.hf(key, {.name = at + "self_attention.query_key_value", .rows = {dim * part++, dim, 3 * dim}, .of_rows = 3 * dim * d.attention.heads});
  fuse_qkv(d.names.gguf, "attn_qkv", d.attention);
  Decoder out = d.build();
  out.embedding_norm = NormLayer("token_embd_norm", d.config.norm, d.config.info.hidden);
  return out;
}

Result<Decoder> mpt(const ConfigReader& config, const TensorSource& source) {
  const std::pair<std::string_view, MetadataValue> only[] = {{"attn_config.alibi", true},     {"attn_config.qk_ln", false},
                                                             {"attn_config.prefix_lm", false}, {"learned_pos_emb", false},
                                                             {"no_bias", true}};
  for (const auto& [key, value] : only) SLUICE_TRY_STATUS(config.only({key, ""}, value));
  DecoderDefaults defaults{.name = "mpt",
                           .gguf = {"mpt"},
                           .norm = Norm::Kind::layer,
                           .norm_eps = 1e-5,
                           .rope = false,
                           .ffn = -4,
                           .tied = true,
                           .computes = {"clip_qkv", "gguf.attention.max_alibi_bias"}};
  defaults.keys.hidden.hf = "d_model";
  defaults.keys.ffn.hf = "";
  defaults.keys.layers.hf = "n_layers";
  defaults.keys.heads.hf = "n_heads";
  defaults.keys.kv_heads.hf = defaults.keys.head_dim.hf = "";
  defaults.keys.positions.hf = "max_seq_len";
  defaults.keys.norm_eps = {"layer_norm_epsilon", "attention.layer_norm_epsilon"};
  SLUICE_TRY(PlainDecoder d, PlainDecoder::read(config, source, defaults));
  if (config.is_gguf()) config.note({"attn_config.alibi", ""}, true), config.note({"no_bias", ""}, true);
  d.config.norm.bias = Presence::absent;
  d.mlp.act = Activation::gelu;
  d.mlp.gated = false;
  SLUICE_TRY(const double clip, config.number_or({"attn_config.clip_qkv", "attention.clamp_kqv"}, 0.0, 0.0, 1e9));
  d.attention.clip_qkv = static_cast<float>(clip);
  SLUICE_TRY(const double most, config.number_or({"attn_config.alibi_bias_max", "attention.max_alibi_bias"}, 8.0, 1e-6, 1e6));
  d.attention.alibi = alibi_slopes(d.attention.heads, most);
  if (config.has({"attn_config.softmax_scale", ""})) {
    SLUICE_TRY(const double scale, config.number({"attn_config.softmax_scale", ""}, 1e-9, 1e9));
    config.cannot_be_said(true, "attn_config.softmax_scale is set");
    d.attention.scale = static_cast<float>(scale);
  }
  const std::string at = "transformer.blocks.{}.";
  d.names.hf("token_embd", {"transformer.wte"})
      .hf("attn_norm", {at + "norm_1"})
      .hf("attn_output", {at + "attn.out_proj"})
      .hf("ffn_norm", {at + "norm_2"})
      .hf("ffn_up", {at + "ffn.up_proj"})
      .hf("ffn_down", {at + "ffn.down_proj"})
      .hf("output_norm", {"transformer.norm_f"});
  fuse_qkv(d.names.huggingface, at + "attn.Wqkv", d.attention);
  fuse_qkv(d.names.gguf, "attn_qkv", d.attention);
  return d.build();
}

}  // namespace

ModelArch bloom_arch() { return decoder_arch<bloom>("bloom", {"BloomForCausalLM"}, {"bloom"}); }
ModelArch mpt_arch() { return decoder_arch<mpt>("mpt", {"MPTForCausalLM", "MptForCausalLM"}, {"mpt"}); }

}  // namespace sluice
