// Mistral: Llama's shape without biases, and attention over a window of positions unless sliding_window is null. Ministral gives
// windows to some layers; Ministral 3 scales queries by their position beyond the context that yarn began with.
// Jiang et al. 2023, "Mistral 7B".

#include "model/layers/plain_decoder.h"

namespace sluice {
namespace {

constexpr ConfigKey kBeta{"rope_scaling.llama_4_scaling_beta", "attention.temperature_scale"};

Result<Decoder> ministral3(const ConfigReader& config, const TensorSource& source);

Result<Decoder> mistral(const ConfigReader& config, const TensorSource& source) {
  if (config.metadata().string_or("text_config.model_type", "") == "ministral3") return ministral3(config, source);
  SLUICE_TRY(PlainDecoder d, PlainDecoder::read(config, source,
                                                {.name = "mistral",
                                                 .gguf = {"llama", RopeStyle::interleaved},
                                                 .kv_heads = 8,
                                                 .window = WindowRule::all_layers,
                                                 .sliding_window = 4096}));
  d.names.optional_prefixes = {"language_model.", "model.language_model."};
  return d.build();
}

Result<Decoder> ministral(const ConfigReader& config, const TensorSource& source) {
  SLUICE_TRY(PlainDecoder d, PlainDecoder::read(config, source,
                                                {.name = "ministral",
                                                 .gguf = {"llama", RopeStyle::interleaved},
                                                 .window = WindowRule::by_type,
                                                 .sliding_window = 4096,
                                                 .window_period = 1,
                                                 .window_full = -1}));  // no layer sees everything
  return d.build();
}

Result<Decoder> ministral3(const ConfigReader& config, const TensorSource& source) {
  SLUICE_TRY(PlainDecoder d, PlainDecoder::read(config, source,
                                                {.name = "ministral3",
                                                 .gguf = {"mistral3", RopeStyle::interleaved},
                                                 .norm_eps = 1e-5,
                                                 .rope_theta = 1e6,
                                                 .yarn_all_dim_in_gguf = true,
                                                 .head_dim = 128,
                                                 .window = WindowRule::all_layers,
                                                 .computes = {kBeta.hf, "gguf.attention.temperature_scale"}}));
  SLUICE_TRY(const double beta, config.number_or(kBeta, 0.0, 0.0, 1e6));
  d.attention.position_beta = static_cast<float>(beta);
  const RopeSettings& rope = d.config.rope->settings;
  d.attention.position_period = static_cast<float>(rope.original_positions > 0 ? rope.original_positions : 16384);
  d.names.optional_prefixes = {"language_model.", "model.language_model."};
  return d.build();
}

}  // namespace

ModelArch mistral_arch() { return decoder_arch<mistral>("mistral", {"MistralForCausalLM", "Mistral3ForConditionalGeneration"}, {}); }
ModelArch ministral_arch() { return decoder_arch<ministral>("ministral", {"MinistralForCausalLM"}, {}); }
ModelArch ministral3_arch() {
  return decoder_arch<ministral3>("ministral3", {"Ministral3ForCausalLM"}, {"mistral3"});
}

}  // namespace sluice
