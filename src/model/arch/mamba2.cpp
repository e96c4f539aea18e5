// Mamba 2: layers of one norm and one state space of heads.
// Dao and Gu 2024, "Transformers are SSMs".

#include "model/layers/mamba2.h"

#include <cmath>

#include "model/layers/decoder_model.h"

namespace sluice {
namespace {

constexpr ConfigKey kInner{"", "ssm.inner_size"}, kExpand{"expand", ""};
constexpr ConfigKey kHeads{"num_heads", "ssm.time_step_rank"}, kHeadDim{"head_dim", ""}, kGroups{"n_groups", "ssm.group_count"};
constexpr ConfigKey kState{"state_size", "ssm.state_size"}, kTaps{"conv_kernel", "ssm.conv_kernel"};

Result<Mamba2Config> read_mixer(const ConfigReader& config, const DecoderConfig& d) {
  Mamba2Config m;
  m.hidden = d.info.hidden;
  SLUICE_TRY(const double expand, config.number_or(kExpand, 2.0, 0.0, 64.0));
  SLUICE_TRY(const int64_t inner, config.integer_or(kInner, static_cast<int64_t>(expand * static_cast<double>(m.hidden)), 1, kMaxWidth));
  SLUICE_TRY(m.heads, config.integer(kHeads, 1, inner));
  if (inner % m.heads != 0) return config.invalid(kHeads, fmt::format("is {}; it must divide the {} inner values", m.heads, inner));
  m.head_dim = inner / m.heads;
  SLUICE_TRY_STATUS(config.only(kHeadDim, m.head_dim));
  SLUICE_TRY(m.groups, config.integer_or(kGroups, config.is_gguf() ? 1 : 8, 1, m.heads));
  if (m.heads % m.groups != 0) return config.invalid(kGroups, fmt::format("is {}; it must divide the {} heads", m.groups, m.heads));
  m.norm_groups = m.groups;
  SLUICE_TRY(m.state, config.integer_or(kState, 128, 1, kMaxHeadDim));
  SLUICE_TRY(const int64_t taps, config.integer_or(kTaps, 4, 2, 64));
  m.taps = static_cast<int>(taps);
  SLUICE_TRY(m.bias, read_bias(config, "use_bias"));
  SLUICE_TRY(m.conv_bias, read_bias(config, "use_conv_bias", true));
  m.norm = d.norm;
  return m;
}

Result<Decoder> describe(const ConfigReader& config, const TensorSource& source) {
  DecoderDefaults defaults{.name = "mamba2", .gguf = {"mamba2"}, .norm_eps = 1e-5, .no_heads = true, .own_ffn = true, .positions = 1 << 20};
  defaults.keys.norm_eps = {"layer_norm_epsilon", "attention.layer_norm_rms_epsilon"};
  Decoder out;
  SLUICE_TRY(out.config, read_decoder_config(config, source, defaults));
  const DecoderConfig& d = out.config;
  SLUICE_TRY(const Mamba2Config mixer, read_mixer(config, d));
  config.note({"", "feed_forward_length"}, int64_t{0});
  out.names = TensorNames();
  out.names.hf("token_embd", {"backbone.embeddings"}).hf("attn_norm", {"backbone.layers.{}.norm"}).hf("output_norm", {"backbone.norm_f"});
  out.names.hf("output", {"lm_head"});
  name_mamba2(out.names, mixer, "backbone.layers.{}.mixer");
  for (int l = 0; l < d.info.layers; ++l) {
    DecoderLayer& layer = out.layers.emplace_back();
    layer.mixer_norm = NormLayer("attn_norm", d.norm, d.info.hidden);
    layer.mixer = std::make_unique<Mamba2Mixer>(mixer);
  }
  out.final_norm = NormLayer("output_norm", d.norm, d.info.hidden);
  return out;
}

}  // namespace

ModelArch mamba2_arch() { return decoder_arch<describe>("mamba2", {"Mamba2ForCausalLM"}, {"mamba2"}); }

}  // namespace sluice
