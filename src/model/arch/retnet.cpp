// RetNet: layers of multi-scale retention and a gated MLP, as torchscale names them; and the linear transformer, whose attention is
// a sum of features.
// Sun et al. 2023, "Retentive network"; Katharopoulos et al. 2020, "Transformers are RNNs".

#include "model/layers/retention.h"

#include <cmath>

#include "model/layers/linear_attention.h"
#include "model/layers/plain_decoder.h"

namespace sluice {
namespace {

// No GGUF has these families.
constexpr ConfigKey kRetNetHeads{"decoder_retention_heads", ""}, kValues{"decoder_value_embed_dim", ""};
constexpr ConfigKey kHeads{"num_attention_heads", ""}, kDenominatorEps{"denominator_eps", ""};

Result<int> read_heads(const ConfigReader& config, ConfigKey key, int64_t hidden, int64_t step) {
  SLUICE_TRY(const int64_t heads, config.integer(key, 1, kMaxHeads));
  if (hidden % (heads * step) != 0)
    return config.invalid(key, fmt::format("is {}; {} times that must divide the width, {}", heads, step, hidden));
  return static_cast<int>(heads);
}

Result<Decoder> retnet(const ConfigReader& config, const TensorSource& source) {
  DecoderDefaults defaults{.name = "retnet", .norm_eps = 1e-5, .no_heads = true, .positions = 1 << 20};
  defaults.keys.hidden.hf = "decoder_embed_dim", defaults.keys.ffn.hf = "decoder_ffn_embed_dim", defaults.keys.layers.hf = "decoder_layers";
  defaults.keys.positions = {"", "context_length"};
  defaults.keys.norm_eps.hf = "layernorm_eps";
  SLUICE_TRY(PlainDecoder d, PlainDecoder::read(config, source, defaults));
  RetentionConfig r;
  r.hidden = d.config.info.hidden;
  SLUICE_TRY(r.heads, read_heads(config, kRetNetHeads, r.hidden, 2));
  SLUICE_TRY(r.values, config.integer(kValues, 1, kMaxWidth));
  if (r.values % r.heads != 0) return config.invalid(kValues, fmt::format("is {}; it must be a multiple of the {} heads", r.values, r.heads));
  r.norm = d.config.norm;
  r.norm.gain = Presence::absent;
  // From 1 to 1 / 10000, both included: not the rotary embedding's steps.
  const int pairs = r.key_dim() / 2;
  for (int i = 0; i < pairs; ++i)
    r.inv_freq.push_back(static_cast<float>(std::pow(10000.0, pairs > 1 ? -static_cast<double>(i) / (pairs - 1) : 0.0)));
  d.names = TensorNames();
  const auto place = [](std::string_view rest) { return Place{fmt::format("layers.{{}}.{}", rest)}; };
  d.names.hf("token_embd", {"embed_tokens"}).hf("output_norm", {"layer_norm"}).hf("output", {"output_projection"});
  d.names.hf("attn_norm", place("retention_layer_norm")).hf("ffn_norm", place("final_layer_norm"));
  for (const auto& [key, name] : {std::pair{"attn_q", "q_proj"}, {"attn_k", "k_proj"}, {"attn_v", "v_proj"}, {"attn_gate", "g_proj"},
                                  {"attn_output", "out_proj"}})
    d.names.hf(key, place(fmt::format("retention.{}", name)));
  d.names.hf("ffn_gate", place("ffn.fc1")).hf("ffn_up", place("ffn.gate")).hf("ffn_down", place("ffn.fc2"));
  d.names.optional_prefixes = {"decoder.", "model."};
  d.mixer = [r](int) { return std::make_unique<Retention>(r); };
  return d.build();
}

Result<Decoder> linear_transformer(const ConfigReader& config, const TensorSource& source) {
  DecoderDefaults defaults{.name = "linear_attention", .norm = Norm::Kind::layer, .norm_eps = 1e-5, .no_heads = true};
  defaults.keys.norm_eps = {"layer_norm_eps", "attention.layer_norm_epsilon"};
  SLUICE_TRY(PlainDecoder d, PlainDecoder::read(config, source, defaults));
  LinearAttentionConfig a;
  a.hidden = d.config.info.hidden;
  SLUICE_TRY(a.heads, read_heads(config, kHeads, a.hidden, 1));
  SLUICE_TRY(const double eps, config.number_or(kDenominatorEps, 1e-6, 0.0, 1.0));
  a.eps = static_cast<float>(eps);
  d.mlp.act = Activation::gelu, d.mlp.gated = false, d.mlp.bias = Presence::required;
  d.names = TensorNames();
  const auto place = [](std::string_view rest) { return Place{fmt::format("layers.{{}}.{}", rest)}; };
  d.names.hf("token_embd", {"embed_tokens"}).hf("position_embd", {"embed_positions"}).hf("output_norm", {"norm"}).hf("output", {"lm_head"});
  d.names.hf("attn_norm", place("norm1")).hf("ffn_norm", place("norm2")).hf("ffn_up", place("fc1")).hf("ffn_down", place("fc2"));
  d.names.hf("attn_q", place("q_proj")).hf("attn_k", place("k_proj")).hf("attn_v", place("v_proj")).hf("attn_output", place("o_proj"));
  d.mixer = [a](int) { return std::make_unique<LinearAttention>(a); };
  Decoder out = d.build();
  out.learned_positions = d.config.info.max_positions;
  return out;
}

}  // namespace

ModelArch retnet_arch() { return decoder_arch<retnet>("retnet", {"RetNetForCausalLM"}, {}); }
ModelArch linear_attention_arch() {
  return decoder_arch<linear_transformer>("linear_attention", {"LinearAttentionForCausalLM"}, {});
}

}  // namespace sluice
