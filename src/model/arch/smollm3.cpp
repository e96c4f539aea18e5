// SmolLM3: Llama's shape, of which every fourth layer does not rotate (NoPE).
// Bakouch et al. 2025, "SmolLM3: smol, multilingual, long-context reasoner".

#include "model/layers/plain_decoder.h"

namespace sluice {
namespace {

constexpr ConfigKey kNoRopeRotated{"no_rope_layers", ""};  // 1: the layer does rotate
constexpr ConfigKey kNoRopeInterval{"no_rope_layer_interval", ""};

Result<Decoder> describe_smollm3(const ConfigReader& config, const TensorSource& source) {
  SLUICE_TRY_STATUS(config.only({"use_sliding_window", ""}, false));  // without which layer_types gives none
  SLUICE_TRY(PlainDecoder d, PlainDecoder::read(config, source,
                                                {.name = "smollm3",
                                                 .gguf = {"smollm3", RopeStyle::interleaved},
                                                 .rope_theta = 2e6}));
  SLUICE_TRY(d.attention.qkv_bias, read_bias(config, "attention_bias"));
  SLUICE_TRY(d.mlp.bias, read_bias(config, "mlp_bias"));
  d.attention.output_bias = d.attention.qkv_bias;
  SLUICE_TRY(const int64_t interval, config.integer_or(kNoRopeInterval, 4, 1, kMaxLayers));
  std::vector<int64_t> rotated;
  for (int l = 0; l < d.config.info.layers; ++l) rotated.push_back((l + 1) % interval != 0);
  if (config.has(kNoRopeRotated)) {
    SLUICE_TRY(rotated, config.integers(kNoRopeRotated, rotated.size(), 0, 1));
  }
  for (size_t l = 0; l < rotated.size(); ++l)
    config.cannot_be_said((rotated[l] != 0) != ((l + 1) % 4 != 0), fmt::format("no_rope_layers has {} for layer {}", rotated[l], l));
  d.each = [rotated](int layer, AttentionConfig& a, MlpConfig&) {
    if (rotated[static_cast<size_t>(layer)] == 0) a.rope = nullptr;
  };
  return d.build();
}

}  // namespace

ModelArch smollm3_arch() { return decoder_arch<describe_smollm3>("smollm3", {"SmolLM3ForCausalLM"}, {"smollm3"}); }

}  // namespace sluice
