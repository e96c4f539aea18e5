// Gemma 1, 2 and 3 (text): the embedding is scaled by the root of its width, gains are stored as their difference from 1, the gate is
// GELU by tanh. Gemma 2 norms what each part adds as well, caps scores and logits, and alternates windows; Gemma 3 norms q and k
// instead of capping, and rotates layers with a window by a base of their own.
// Gemma Team 2024, "Gemma"; 2024, "Gemma 2"; 2025, "Gemma 3 technical report".

#include <cmath>

#include "model/layers/plain_decoder.h"

namespace sluice {
namespace {

constexpr ConfigKey kScalar{"query_pre_attn_scalar", ""};
constexpr ConfigKey kScoreCap{"attn_logit_softcapping", "attn_logit_softcapping"};
constexpr ConfigKey kLogitCap{"final_logit_softcapping", "final_logit_softcapping"};
constexpr ConfigKey kGemmaPattern{"sliding_window_pattern", ""};
constexpr ConfigKey kUnderscoredPattern{"_sliding_window_pattern", ""};

DecoderDefaults common(std::string_view name) {
  return {.name = name,
          .gguf = {name},
          .head_dim = 256,
          .tied = true,
          .computes = {"hidden_act", "hidden_activation", "attn_logit_softcapping", "final_logit_softcapping"}};
}

Result<PlainDecoder> read_gemma(const ConfigReader& config, const TensorSource& source, const DecoderDefaults& defaults) {
  SLUICE_TRY_STATUS(config.only({"use_bidirectional_attention", ""}, false));
  SLUICE_TRY(PlainDecoder d, PlainDecoder::read(config, source, defaults));
  // Whatever the first files call it ("gelu"), all of them were trained with the approximation.
  for (const ConfigKey key : {ConfigKey{"hidden_act", ""}, ConfigKey{"hidden_activation", ""}}) {
    SLUICE_TRY(const Activation act, read_activation(config, key, "gelu_pytorch_tanh"));
    if (act != Activation::gelu && act != Activation::gelu_tanh) return config.refused(key, "is not the GELU that Gemma was trained with");
  }
  d.mlp.act = Activation::gelu_tanh;
  SLUICE_TRY(d.attention.qkv_bias, read_bias(config, "attention_bias"));
  d.attention.output_bias = d.attention.qkv_bias;
  return d;
}

// GGUF's gains are whole.
Decoder finish(const PlainDecoder& d) {
  Decoder out = d.build();
  for (auto& [key, place] : out.names.huggingface)
    if (key.ends_with("norm")) place.plus = 1;
  out.embedding_scale = std::sqrt(static_cast<float>(d.config.info.hidden));
  return out;
}

void norm_both_ways(PlainDecoder& d) {
  d.norms = NormPlace::sandwich;
  d.names.hf("post_attention_norm", {"model.layers.{}.post_attention_layernorm"})
      .hf("ffn_norm", {"model.layers.{}.pre_feedforward_layernorm"})
      .hf("post_ffw_norm", {"model.layers.{}.post_feedforward_layernorm"});
}

// A GGUF does not say it; its reader knows the one model (by its layers) whose scores are not divided by the root of a head.
Status read_scale(const ConfigReader& config, int odd_layers, PlainDecoder& d) {
  const ModelInfo& info = d.config.info;
  if (config.is_gguf()) {
    const int64_t divisor = info.layers == odd_layers ? info.hidden / info.heads : info.head_dim;
    d.attention.scale = 1 / std::sqrt(static_cast<float>(divisor));
    config.note(kScalar, divisor);
    return {};
  }
  SLUICE_TRY(const double scalar, config.number_or(kScalar, 256.0, 1e-6, 1e9));
  d.attention.scale = static_cast<float>(1 / std::sqrt(scalar));
  const int64_t unsaid = info.layers == odd_layers ? info.hidden / info.heads : info.head_dim;
  config.cannot_be_said(scalar != static_cast<double>(unsaid), fmt::format("query_pre_attn_scalar is {}", scalar));
  return {};
}

Result<float> read_cap(const ConfigReader& config, ConfigKey key, double otherwise) {
  if (config.is_null(key)) return 0.0f;
  SLUICE_TRY(const double cap, config.number_or(key, otherwise, 0.0, 1e6));
  if (config.is_gguf() && cap == 0) config.note_null(key.hf);  // transformers divides by what is there
  return static_cast<float>(cap);
}

Result<Decoder> gemma(const ConfigReader& config, const TensorSource& source) {
  SLUICE_TRY(const PlainDecoder d, read_gemma(config, source, common("gemma")));
  return finish(d);
}

Result<Decoder> gemma2(const ConfigReader& config, const TensorSource& source) {
  DecoderDefaults defaults = common("gemma2");
  defaults.gguf.one_window = false;
  defaults.window = WindowRule::by_type;
  defaults.sliding_window = defaults.gguf_sliding_window = 4096;
  defaults.window_period = 2, defaults.window_full = 1;
  SLUICE_TRY(PlainDecoder d, read_gemma(config, source, defaults));
  norm_both_ways(d);
  SLUICE_TRY_STATUS(read_scale(config, 46, d));
  SLUICE_TRY(d.attention.softcap, read_cap(config, kScoreCap, 50));
  Decoder out = finish(d);
  SLUICE_TRY(out.logit_softcap, read_cap(config, kLogitCap, 30));
  return out;
}

Result<Decoder> gemma3(const ConfigReader& config, const TensorSource& source) {
  DecoderDefaults defaults = common("gemma3");
  defaults.gguf.one_window = false;
  defaults.rope_theta = 1e6;
  defaults.plain_local_rope = true, defaults.local_theta = 10000;
  defaults.heads = 8, defaults.kv_heads = 4, defaults.vocab = 262208, defaults.positions = 131072;  // what the 4B file leaves out
  defaults.window = WindowRule::by_type;
  defaults.sliding_window = 4096;
  SLUICE_TRY(const int64_t older, config.integer_or(kUnderscoredPattern, 6, 1, kMaxLayers));
  SLUICE_TRY(const int64_t period, config.integer_or(kGemmaPattern, older, 1, kMaxLayers));
  defaults.window_period = static_cast<int>(period), defaults.window_full = static_cast<int>(period) - 1;
  config.cannot_be_said(period != 6, fmt::format("sliding_window_pattern is {}", period));
  SLUICE_TRY(PlainDecoder d, read_gemma(config, source, defaults));
  norm_both_ways(d);
  SLUICE_TRY_STATUS(read_scale(config, 62, d));
  SLUICE_TRY(d.attention.softcap, read_cap(config, kScoreCap, 0));
  config.cannot_be_said(d.attention.softcap > 0, "attn_logit_softcapping is set");
  d.attention.qk_norm = QkNorm::head;
  Decoder out = finish(d);
  SLUICE_TRY(out.logit_softcap, read_cap(config, kLogitCap, 0));
  out.names.optional_prefixes = {"language_model.", "model.language_model."};
  return out;
}

}  // namespace

ModelArch gemma_arch() { return decoder_arch<gemma>("gemma", {"GemmaForCausalLM"}, {"gemma"}); }
ModelArch gemma2_arch() { return decoder_arch<gemma2>("gemma2", {"Gemma2ForCausalLM"}, {"gemma2"}); }
ModelArch gemma3_arch() {
  return decoder_arch<gemma3>("gemma3", {"Gemma3ForCausalLM", "Gemma3ForConditionalGeneration"}, {"gemma3"});
}

}  // namespace sluice
