// The families around GPT-2: positions learned (GPT-2, GPT-BigCode) or rotated in part (GPT-J, CodeGen, GPT-NeoX), layer norms, plain
// MLPs; GPT-J and its like compute attention and MLP of the same input. Their files hold q, k and v in one tensor, each in its own
// order; GPT-2's are transposed.
// Radford et al. 2019, "Language models are unsupervised multitask learners"; Wang and Komatsuzaki 2021, "GPT-J-6B"; Black et al. 2022,
// "GPT-NeoX-20B"; Nijkamp et al. 2022, "CodeGen"; Li et al. 2023, "StarCoder".

#include "model/layers/plain_decoder.h"

namespace sluice {
namespace {

DecoderDefaults gpt_defaults(std::string_view name, std::string_view gguf, bool rope) {
  DecoderDefaults d{.name = name,
                    .gguf = {gguf},
                    .norm = Norm::Kind::layer,
                    .norm_eps = 1e-5,
                    .rope = rope,
                    .ffn = -4,
                    .computes = {"activation_function", "hidden_act", "partial_rotary_factor", "gguf.use_parallel_residual"}};
  d.keys.hidden.hf = "n_embd";
  d.keys.ffn.hf = "n_inner";
  d.keys.layers.hf = "n_layer";
  d.keys.heads.hf = "n_head";
  d.keys.kv_heads.hf = d.keys.head_dim.hf = "";
  d.keys.positions.hf = "n_positions";
  d.keys.norm_eps = {"layer_norm_epsilon", "attention.layer_norm_epsilon"};
  return d;
}

Result<PlainDecoder> read_gpt(const ConfigReader& config, const TensorSource& source, const DecoderDefaults& defaults,
                          ConfigKey activation = {"activation_function", ""}, std::string_view otherwise = "gelu_new") {
  SLUICE_TRY(PlainDecoder d, PlainDecoder::read(config, source, defaults));
  SLUICE_TRY(d.mlp.act, read_activation(config, activation, otherwise));
  d.mlp.gated = false;
  d.mlp.bias = d.attention.qkv_bias = d.attention.output_bias = Presence::required;
  return d;
}

void name_blocks(TensorNames& names) {
  const std::string at = "transformer.h.{}.";
  names.huggingface.clear();
  names.hf("token_embd", {"transformer.wte"})
      .hf("position_embd", {"transformer.wpe"})
      .hf("attn_norm", {at + "ln_1"})
      .hf("attn_output", {at + "attn.c_proj"})
      .hf("ffn_norm", {at + "ln_2"})
      .hf("ffn_up", {at + "mlp.c_fc"})
      .hf("ffn_down", {at + "mlp.c_proj"})
      .hf("output_norm", {"transformer.ln_f"})
      .hf("output", {"lm_head"});
  names.optional_prefixes = {"transformer."};
}

// q, k and v of each head stand together.
void fuse_by_head(TensorNames& names, const std::string& name, const AttentionConfig& a) {
  const int64_t d = a.head_dim;
  int64_t part = 0;
  for (const char* key : {"attn_q", "attn_k", "attn_v"})
    names.hf(key, {.name = name, .rows = {d * part++, d, 3 * d}, .of_rows = 3 * d * a.heads});
}

Decoder with_positions(const PlainDecoder& d) {
  Decoder out = d.build();
  out.learned_positions = d.config.info.max_positions;
  return out;
}

Result<Decoder> gpt2(const ConfigReader& config, const TensorSource& source) {
  DecoderDefaults defaults = gpt_defaults("gpt2", "gpt2", false);
  defaults.tied = true;
  SLUICE_TRY(PlainDecoder d, read_gpt(config, source, defaults));
  SLUICE_TRY(const bool scaled, config.boolean_or({"scale_attn_weights", ""}, true));
  SLUICE_TRY(const bool by_layer, config.boolean_or({"scale_attn_by_inverse_layer_idx", ""}, false));
  config.cannot_be_said(!scaled || by_layer, fmt::format("scale_attn_weights is {}, scale_attn_by_inverse_layer_idx {}", scaled, by_layer));
  if (!scaled) d.attention.scale = 1;
  if (by_layer) d.each = [](int layer, AttentionConfig& a, MlpConfig&) { a.scale /= static_cast<float>(layer + 1); };
  name_blocks(d.names);
  fuse_qkv(d.names.huggingface, "transformer.h.{}.attn.c_attn", d.attention);
  for (const char* key : {"attn_q", "attn_k", "attn_v", "attn_output", "ffn_up", "ffn_down"}) d.names.huggingface[key].transposed = true;
  fuse_qkv(d.names.gguf, "attn_qkv", d.attention);
  return with_positions(d);
}

Result<Decoder> gpt_bigcode(const ConfigReader& config, const TensorSource& source) {
  DecoderDefaults defaults = gpt_defaults("starcoder", "starcoder", false);
  SLUICE_TRY(bool multi_query, config.boolean_or({"multi_query", ""}, true));
  if (multi_query) defaults.kv_heads = 1;
  defaults.tied = true;
  SLUICE_TRY(PlainDecoder d, read_gpt(config, source, defaults, {"activation_function", ""}, "gelu_pytorch_tanh"));
  SLUICE_TRY(const bool scaled, config.boolean_or({"scale_attn_weights", ""}, true));
  config.cannot_be_said(!scaled, "scale_attn_weights is false");
  if (!scaled) d.attention.scale = 1;
  if (config.is_gguf()) {
    multi_query = d.attention.kv_heads == 1;
    config.note({"multi_query", ""}, multi_query);
  }
  name_blocks(d.names);
  const std::string fused = "transformer.h.{}.attn.c_attn";
  if (multi_query) fuse_qkv(d.names.huggingface, fused, d.attention);
  else fuse_by_head(d.names, fused, d.attention);
  fuse_qkv(d.names.gguf, "attn_qkv", d.attention);
  return with_positions(d);
}

// The rotated dims are a count there.
Result<double> rotary_share(const ConfigReader& config, const DecoderDefaults& defaults, int64_t otherwise) {
  SLUICE_TRY(const int64_t hidden, config.integer(defaults.keys.hidden, 1, kMaxWidth));
  SLUICE_TRY(const int64_t heads, config.integer(defaults.keys.heads, 1, kMaxHeads));
  const int64_t head_dim = hidden / heads;
  SLUICE_TRY(const int64_t dims, config.integer_or({"rotary_dim", ""}, otherwise, 2, kMaxHeadDim));
  if (dims > head_dim) return config.invalid({"rotary_dim", ""}, fmt::format("is {}, but heads have {} values", dims, head_dim));
  return static_cast<double>(dims) / static_cast<double>(head_dim);
}

Result<Decoder> gptj_like(const ConfigReader& config, const TensorSource& source, std::string_view name, bool codegen) {
  DecoderDefaults defaults = gpt_defaults(name, codegen ? "" : name, true);
  defaults.hf_rope = defaults.gguf.rope = RopeStyle::interleaved;
  defaults.rotary_factor = 0.5;  // of a GGUF, which has a count too, under its own name
  if (!config.is_gguf()) {
    SLUICE_TRY(defaults.rotary_factor, rotary_share(config, defaults, 64));
  }
  SLUICE_TRY(PlainDecoder d, read_gpt(config, source, defaults));
  if (config.is_gguf()) {
    config.forget({"partial_rotary_factor", ""});
    config.note({"rotary_dim", ""}, int64_t{d.config.rope->rotary_dims()});
  }
  d.attention.qkv_bias = d.attention.output_bias = Presence::absent;
  d.parallel = d.one_norm = true;
  name_blocks(d.names);
  const std::string at = "transformer.h.{}.";
  for (const auto& [key, part] : {std::pair{"attn_q", "q_proj"}, {"attn_k", "k_proj"}, {"attn_v", "v_proj"}, {"attn_output", "out_proj"}})
    d.names.hf(key, {at + "attn." + part});
  d.names.hf("ffn_up", {at + "mlp.fc_in"}).hf("ffn_down", {at + "mlp.fc_out"});
  if (codegen) {  // four parts, as it was trained on four cores: of each the rows of q, then v, then k
    const int64_t all = d.config.info.hidden, local = all / 4;
    if (d.config.info.heads % 4 != 0) return config.invalid(defaults.keys.heads, fmt::format("is {}; it must be a multiple of 4", d.config.info.heads));
    int64_t part = 0;
    for (const char* key : {"attn_q", "attn_v", "attn_k"})
      d.names.hf(key, {.name = at + "attn.qkv_proj", .rows = {local * part++, local, 3 * local}, .of_rows = 3 * all});
  }
  Decoder out = d.build();
  out.head_bias = Presence::required;
  return out;
}

Result<Decoder> gptj(const ConfigReader& config, const TensorSource& source) { return gptj_like(config, source, "gptj", false); }
Result<Decoder> codegen(const ConfigReader& config, const TensorSource& source) { return gptj_like(config, source, "codegen", true); }

Result<Decoder> gpt_neox(const ConfigReader& config, const TensorSource& source) {
  DecoderDefaults defaults = gpt_defaults("gptneox", "gptneox", true);
  defaults.keys = {};
  defaults.keys.head_dim.hf = "";
  defaults.keys.norm_eps = {"layer_norm_eps", "attention.layer_norm_epsilon"};
  defaults.keys.theta.hf = config.has({"rotary_emb_base", ""}) ? "rotary_emb_base" : "rope_theta";
  defaults.ffn = 0;
  SLUICE_TRY(defaults.rotary_factor, config.number_or({"rotary_pct", ""}, 0.25, 0.0, 1.0));
  SLUICE_TRY(PlainDecoder d, read_gpt(config, source, defaults, {"hidden_act", ""}, "gelu"));
  if (config.is_gguf()) {
    config.forget({"partial_rotary_factor", ""});
    config.note({"rotary_pct", ""}, static_cast<double>(d.config.rope->rotary_dims()) / d.attention.head_dim);
  }
  SLUICE_TRY(const Presence bias, read_bias(config, "attention_bias", true));
  d.attention.qkv_bias = d.attention.output_bias = bias;
  SLUICE_TRY(d.parallel, config.boolean_or({"use_parallel_residual", "use_parallel_residual"}, true));
  const std::string at = "gpt_neox.layers.{}.";
  d.names.hf("token_embd", {"gpt_neox.embed_in"})
      .hf("attn_norm", {at + "input_layernorm"})
      .hf("attn_output", {at + "attention.dense"})
      .hf("ffn_norm", {at + "post_attention_layernorm"})
      .hf("ffn_up", {at + "mlp.dense_h_to_4h"})
      .hf("ffn_down", {at + "mlp.dense_4h_to_h"})
      .hf("output_norm", {"gpt_neox.final_layer_norm"})
      .hf("output", {"embed_out"});
  fuse_by_head(d.names, at + "attention.query_key_value", d.attention);
  fuse_qkv(d.names.gguf, "attn_qkv", d.attention);
  return d.build();
}

}  // namespace

ModelArch gpt2_arch() { return decoder_arch<gpt2>("gpt2", {"GPT2LMHeadModel"}, {"gpt2"}); }
ModelArch gpt_bigcode_arch() { return decoder_arch<gpt_bigcode>("starcoder", {"GPTBigCodeForCausalLM"}, {"starcoder"}); }
ModelArch gptj_arch() { return decoder_arch<gptj>("gptj", {"GPTJForCausalLM"}, {"gptj"}); }
ModelArch codegen_arch() { return decoder_arch<codegen>("codegen", {"CodeGenForCausalLM"}, {}); }
ModelArch gpt_neox_arch() { return decoder_arch<gpt_neox>("gptneox", {"GPTNeoXForCausalLM"}, {"gptneox"}); }

}  // namespace sluice
