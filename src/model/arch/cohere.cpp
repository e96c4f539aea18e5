// Command R and R7B (Cohere, Cohere2): attention and MLP of the same input under one layer norm without bias, rotation of neighbours,
// logits by a factor. Cohere2 rotates only the layers that have a window, which are all but every fourth.
// Cohere 2024, "Command R"; 2025, "Command A: an enterprise-ready large language model".

#include "model/layers/plain_decoder.h"

namespace sluice {
namespace {

constexpr ConfigKey kLogits{"logit_scale", "logit_scale"};

Result<PlainDecoder> read_cohere(const ConfigReader& config, const TensorSource& source, DecoderDefaults defaults) {
  defaults.norm = Norm::Kind::layer;
  defaults.norm_eps = 1e-5;
  defaults.hf_rope = defaults.gguf.rope = RopeStyle::interleaved;
  defaults.keys.norm_eps = {"layer_norm_eps", "attention.layer_norm_epsilon"};
  // The first files' max_position_embeddings is that of the training before the long contexts.
  if (const ConfigKey longest{"model_max_length", ""}; config.has(longest)) defaults.keys.positions.hf = longest.hf;
  defaults.tied = true;
  defaults.computes = {"use_qk_norm", "logits_scaling", "logit_scale"};
  SLUICE_TRY(PlainDecoder d, PlainDecoder::read(config, source, defaults));
  d.config.norm.bias = Presence::absent;
  SLUICE_TRY(d.attention.qkv_bias, read_bias(config, "attention_bias"));
  d.attention.output_bias = d.attention.qkv_bias;
  d.parallel = d.one_norm = true;
  return d;
}

Result<Decoder> finish(const ConfigReader& config, const PlainDecoder& d) {
  Decoder out = d.build();
  SLUICE_TRY(const double scale, config.number_or(kLogits, 0.0625, 1e-9, 1e9));
  out.logit_scale = static_cast<float>(scale);
  return out;
}

Result<Decoder> cohere(const ConfigReader& config, const TensorSource& source) {
  SLUICE_TRY(PlainDecoder d, read_cohere(config, source, {.name = "cohere", .gguf = {"command-r"}, .rope_theta = 500000}));
  SLUICE_TRY(bool norms, config.boolean_or({"use_qk_norm", ""}, false));
  if (config.is_gguf()) {
    norms = source.find("blk.0.attn_q_norm.weight") != nullptr;
    config.note({"use_qk_norm", ""}, norms);
  }
  if (norms) d.attention.qk_norm = QkNorm::every_head;
  return finish(config, d);
}

Result<Decoder> cohere2(const ConfigReader& config, const TensorSource& source) {
  SLUICE_TRY(const int64_t period, config.integer_or({"sliding_window_pattern", ""}, 4, 1, kMaxLayers));
  config.cannot_be_said(period != 4, fmt::format("sliding_window_pattern is {}", period));
  SLUICE_TRY(PlainDecoder d, read_cohere(config, source,
                                  {.name = "cohere2",
                                   .gguf = {.arch = "cohere2", .one_window = false},
                                   .window = WindowRule::by_type,
                                   .sliding_window = 4096,
                                   .window_period = static_cast<int>(period),
                                   .window_full = static_cast<int>(period) - 1}));
  d.each = [](int, AttentionConfig& a, MlpConfig&) {
    if (a.window == 0) a.rope = nullptr;
  };
  return finish(config, d);
}

}  // namespace

ModelArch cohere_arch() { return decoder_arch<cohere>("cohere", {"CohereForCausalLM"}, {"command-r"}); }
ModelArch cohere2_arch() { return decoder_arch<cohere2>("cohere2", {"Cohere2ForCausalLM"}, {"cohere2"}); }

}  // namespace sluice
