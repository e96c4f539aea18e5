// Falcon: attention and MLP of the same input, normed once (7B) or for each (40B); the small ones (RW) have ALiBi and come one after
// the other.
// Almazrouei et al. 2023, "The Falcon series of open language models".

#include "model/layers/plain_decoder.h"

namespace sluice {
namespace {

constexpr ConfigKey kKvHeads{"num_kv_heads", "attention.head_count_kv"};
constexpr ConfigKey kOldKvHeads{"n_head_kv", ""};
constexpr ConfigKey kNormsInParallel{"num_ln_in_parallel_attn", ""};

Result<Decoder> describe_falcon(const ConfigReader& config, const TensorSource& source) {
  SLUICE_TRY(bool grouped, config.boolean_or({"new_decoder_architecture", ""}, false));
  SLUICE_TRY(bool multi_query, config.boolean_or({"multi_query", ""}, true));
  SLUICE_TRY(const bool alibi, config.boolean_or({"alibi", ""}, false));
  SLUICE_TRY(const bool parallel, config.boolean_or({"parallel_attn", ""}, true));
  DecoderDefaults defaults{.name = "falcon",
                           .gguf = {"falcon"},
                           .norm = Norm::Kind::layer,
                           .norm_eps = 1e-5,
                           .rope = !alibi,
                           .ffn = -4,
                           .positions = 2048,
                           .tied = true,
                           .computes = {"alibi", "activation", "hidden_act"}};
  defaults.keys.ffn.hf = "ffn_hidden_size";
  defaults.keys.head_dim.hf = "";
  defaults.keys.norm_eps = {"layer_norm_epsilon", "attention.layer_norm_epsilon"};
  if (config.has({"n_layer", ""})) defaults.keys.layers.hf = "n_layer";  // RW's
  if (config.has({"n_head", ""})) defaults.keys.heads.hf = "n_head";
  if (config.is_gguf()) {
    grouped = source.find("blk.0.attn_norm_2.weight") != nullptr;
    defaults.keys.kv_heads.hf = grouped ? kKvHeads.hf : "";
  } else if (grouped) {
    defaults.keys.kv_heads.hf = config.has(kKvHeads) ? kKvHeads.hf : kOldKvHeads.hf;
  } else {
    defaults.keys.kv_heads.hf = "";
    if (multi_query) defaults.kv_heads = 1;
  }
  SLUICE_TRY(PlainDecoder d, PlainDecoder::read(config, source, defaults));
  SLUICE_TRY(d.mlp.act, read_activation(config, {"activation", ""}, "gelu"));
  d.mlp.gated = false;
  if (config.is_gguf()) {
    multi_query = grouped || d.attention.kv_heads == 1;
    config.note({"new_decoder_architecture", ""}, grouped);
    config.note({"multi_query", ""}, multi_query);
  }
  SLUICE_TRY(d.mlp.bias, read_bias(config, "bias"));
  d.attention.qkv_bias = d.attention.output_bias = d.mlp.bias;
  config.cannot_be_said(alibi, "alibi is true");
  config.cannot_be_said(!parallel && !grouped, "parallel_attn is false");
  if (alibi) {  // which is added before the scores are scaled
    d.attention.alibi = alibi_slopes(d.attention.heads);
    for (float& slope : d.attention.alibi) slope *= d.attention.scale;
  }
  int64_t norms = grouped ? 2 : 1;
  if (!config.is_gguf() && config.has(kNormsInParallel)) {
    SLUICE_TRY(norms, config.integer(kNormsInParallel, 1, 2));
  }
  d.parallel = parallel || grouped;
  d.one_norm = d.parallel && norms == 1;

  const std::string at = "transformer.h.{}.", fused = at + "self_attention.query_key_value";
  d.names.hf("token_embd", {"transformer.word_embeddings"})
      .hf("attn_norm", {at + (grouped && norms == 2 ? "ln_attn" : "input_layernorm")})
      .hf("attn_output", {at + "self_attention.dense"})
      .hf("ffn_norm", {at + (grouped && norms == 2 ? "ln_mlp" : "post_attention_layernorm")})
      .hf("ffn_up", {at + "mlp.dense_h_to_4h"})
      .hf("ffn_down", {at + "mlp.dense_4h_to_h"})
      .hf("output_norm", {"transformer.ln_f"});
  const AttentionConfig& a = d.attention;
  const int64_t dim = a.head_dim, group = (a.heads / a.kv_heads + 2) * dim, all = group * a.kv_heads;
  if (grouped || !multi_query) {  // the queries of a group, its key, its value
    d.names.hf("attn_q", {.name = fused, .rows = {0, group - 2 * dim, group}, .of_rows = all})
        .hf("attn_k", {.name = fused, .rows = {group - 2 * dim, dim, group}, .of_rows = all})
        .hf("attn_v", {.name = fused, .rows = {group - dim, dim, group}, .of_rows = all});
  } else {
    fuse_qkv(d.names.huggingface, fused, a);
  }
  fuse_qkv(d.names.gguf, "attn_qkv", a);
  if (grouped) d.names.gguf["attn_norm"] = {"attn_norm_2"}, d.names.gguf["ffn_norm"] = {"attn_norm"};
  return d.build();
}

}  // namespace

ModelArch falcon_arch() { return decoder_arch<describe_falcon>("falcon", {"FalconForCausalLM", "RWForCausalLM"}, {"falcon"}); }

}  // namespace sluice
