// OPT: learned positions that begin at row 2, ReLU, layer norms before each part; the 350M model has them after the addition instead,
// and an embedding of its own width.
// Zhang et al. 2022, "OPT: open pre-trained transformer language models".

#include "model/layers/plain_decoder.h"

namespace sluice {
namespace {

constexpr int64_t kBeforePositions = 2;  // rows of the table

Result<Decoder> describe_opt(const ConfigReader& config, const TensorSource& source) {
  DecoderDefaults defaults{.name = "opt",
                           .norm = Norm::Kind::layer,
                           .norm_eps = 1e-5,
                           .rope = false,
                           .tied = true,
                           .computes = {"activation_function"}};
  defaults.keys.ffn.hf = "ffn_dim";
  defaults.keys.norm_eps.hf = "layer_norm_eps";
  SLUICE_TRY_STATUS(config.only({"layer_norm_elementwise_affine", ""}, true));
  SLUICE_TRY(PlainDecoder d, PlainDecoder::read(config, source, defaults));
  SLUICE_TRY(d.mlp.act, read_activation(config, {"activation_function", ""}, "relu"));
  d.mlp.gated = false;
  SLUICE_TRY(d.mlp.bias, read_bias(config, "enable_bias", true));
  d.attention.qkv_bias = d.attention.output_bias = d.mlp.bias;
  SLUICE_TRY(const bool before, config.boolean_or({"do_layer_norm_before", ""}, true));
  SLUICE_TRY(const bool no_final, config.boolean_or({"_remove_final_layer_norm", ""}, false));
  SLUICE_TRY(const int64_t width, config.integer_or({"word_embed_proj_dim", ""}, d.config.info.hidden, 1, d.config.info.hidden));
  const std::string at = "model.decoder.layers.{}.";
  const int64_t positions = d.config.info.max_positions;
  d.names.hf("token_embd", {"model.decoder.embed_tokens"})
      .hf("position_embd.weight", {.name = "model.decoder.embed_positions.weight", .rows = {kBeforePositions}, .of_rows = kBeforePositions + positions})
      .hf("embd_in", {"model.decoder.project_in"})
      .hf("embd_out", {"model.decoder.project_out"})
      .hf("attn_norm", {at + "self_attn_layer_norm"})
      .hf("attn_output", {at + "self_attn.out_proj"})
      .hf("ffn_norm", {at + "final_layer_norm"})
      .hf("ffn_up", {at + "fc1"})
      .hf("ffn_down", {at + "fc2"})
      .hf("output_norm", {"model.decoder.final_layer_norm"});
  for (const auto& [key, part] : {std::pair{"attn_q", "q_proj"}, {"attn_k", "k_proj"}, {"attn_v", "v_proj"}})
    d.names.hf(key, {at + "self_attn." + part});
  d.names.optional_prefixes = {"model."};
  Decoder out = d.build();
  out.learned_positions = positions;
  if (width != d.config.info.hidden) out.embedding_dim = width;
  if (!before)
    for (DecoderLayer& layer : out.layers) {
      layer.sum_norm = std::exchange(layer.mixer_norm, {});
      layer.final_sum_norm = std::exchange(layer.ffn_norm, {});
    }
  if (!before || no_final) out.final_norm = {};
  return out;
}

}  // namespace

ModelArch opt_arch() { return decoder_arch<describe_opt>("opt", {"OPTForCausalLM"}, {}); }

}  // namespace sluice
