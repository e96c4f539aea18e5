// Mamba, and Falcon Mamba, which norms what the rows select by: layers of one norm and one selective state space, nothing else.
// Gu and Dao 2023, "Mamba"; Zuo et al. 2024, "Falcon Mamba".

#include "model/arch/mixers_alone.h"
#include "model/layers/mamba.h"

namespace sluice {
namespace {

constexpr ConfigKey kMambaInner{"intermediate_size", "ssm.inner_size"}, kMambaExpand{"expand", ""};
constexpr ConfigKey kMambaState{"state_size", "ssm.state_size"}, kMambaTaps{"conv_kernel", "ssm.conv_kernel"};
constexpr ConfigKey kMambaRank{"time_step_rank", "ssm.time_step_rank"};
constexpr ConfigKey kNormed{"", "ssm.dt_b_c_rms"}, kNormEps{"mixer_rms_eps", ""};

Result<MambaConfig> read_mamba_mixer(const ConfigReader& config, const DecoderConfig& d) {
  MambaConfig m;
  m.hidden = d.info.hidden;
  SLUICE_TRY(const double expand, config.number_or(kMambaExpand, 2.0, 0.0, 64.0));
  SLUICE_TRY(m.inner, config.integer_or(kMambaInner, static_cast<int64_t>(expand * static_cast<double>(m.hidden)), 1, kMaxWidth));
  SLUICE_TRY(m.state, config.integer_or(kMambaState, 16, 1, kMaxHeadDim));
  SLUICE_TRY(const int64_t taps, config.integer_or(kMambaTaps, 4, 2, 64));
  m.taps = static_cast<int>(taps);
  const int64_t rank = (m.hidden + 15) / 16;
  SLUICE_TRY(m.dt_rank, config.metadata().has("time_step_rank") && config.metadata().string_or("time_step_rank", "") == "auto"
                            ? Result<int64_t>(rank) : config.integer_or(kMambaRank, rank, 1, kMaxWidth));
  SLUICE_TRY_STATUS(config.only({"use_bias", ""}, false));
  SLUICE_TRY(m.conv_bias, read_bias(config, "use_conv_bias", true));
  SLUICE_TRY(const bool normed, config.boolean_or(kNormed, config.metadata().architecture() == "FalconMambaForCausalLM"));
  if (normed) {
    SLUICE_TRY(const double eps, config.number_or(kNormEps, config.is_gguf() ? static_cast<double>(d.norm.eps) : 1e-6, 0.0, 1.0));
    config.cannot_be_said(static_cast<float>(eps) != d.norm.eps, "mixer_rms_eps is not layer_norm_epsilon");
    m.norms = {Norm::Kind::rms, static_cast<float>(eps), Presence::absent};
  }
  return m;
}

Result<Decoder> describe_mamba(const ConfigReader& config, const TensorSource& source) {
  DecoderDefaults defaults{.name = "mamba", .gguf = {"mamba"}, .norm_eps = 1e-5, .no_heads = true, .own_ffn = true,
                           .positions = 1 << 20, .tied = true};
  defaults.keys.norm_eps = {"layer_norm_epsilon", "attention.layer_norm_rms_epsilon"};
  SLUICE_TRY(DecoderConfig d, read_decoder_config(config, source, defaults));
  SLUICE_TRY(const MambaConfig mixer, read_mamba_mixer(config, d));
  if (config.is_gguf()) {
    if (mixer.norms.kind != Norm::Kind::none) d.hf_architecture = "FalconMambaForCausalLM";
    if (mixer.inner % mixer.hidden == 0) config.note(kMambaExpand, mixer.inner / mixer.hidden);
    else config.note(kMambaExpand, simplest_number(static_cast<double>(mixer.inner) / static_cast<double>(mixer.hidden)));
  }
  config.note({"", "feed_forward_length"}, int64_t{0});
  Decoder out = of_mixers_alone(std::move(d), [&] { return std::make_unique<MambaMixer>(mixer); });
  name_mamba(out.names, mixer, "backbone.layers.{}.mixer");
  return out;
}

}  // namespace

ModelArch mamba_arch() { return decoder_arch<describe_mamba>("mamba", {"MambaForCausalLM", "FalconMambaForCausalLM"}, {"mamba"}); }

}  // namespace sluice
