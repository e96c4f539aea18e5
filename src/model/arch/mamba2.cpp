// Mamba 2: layers of one norm and one state space of heads.
// Dao and Gu 2024, "Transformers are SSMs".

#include "model/arch/mixers_alone.h"
#include "model/arch/state_spaces.h"

namespace sluice {
namespace {

constexpr Mamba2Keys kKeys{"num_heads", "head_dim", "n_groups", "state_size", "conv_kernel", "use_bias", "use_conv_bias", 8, "expand"};

Result<Decoder> describe_mamba2(const ConfigReader& config, const TensorSource& source) {
  DecoderDefaults defaults{.name = "mamba2", .gguf = {"mamba2"}, .norm_eps = 1e-5, .no_heads = true, .own_ffn = true, .positions = 1 << 20};
  defaults.keys.norm_eps = {"layer_norm_epsilon", "attention.layer_norm_rms_epsilon"};
  SLUICE_TRY(DecoderConfig d, read_decoder_config(config, source, defaults));
  SLUICE_TRY(const Mamba2Config mixer, read_mamba2(config, d, kKeys));
  config.note({"", "feed_forward_length"}, int64_t{0});
  Decoder out = of_mixers_alone(std::move(d), [&] { return std::make_unique<Mamba2Mixer>(mixer); });
  name_mamba2(out.names, mixer, "backbone.layers.{}.mixer");
  return out;
}

}  // namespace

ModelArch mamba2_arch() { return decoder_arch<describe_mamba2>("mamba2", {"Mamba2ForCausalLM"}, {"mamba2"}); }

}  // namespace sluice
