// Jamba: Mamba layers with attention in some, without any rotation, and mixtures of experts in place of some of the MLPs.
// Lieber et al. 2024, "Jamba: a hybrid transformer-Mamba language model".

#include "model/arch/mixtures.h"
#include "model/arch/state_spaces.h"
#include "model/layers/mamba.h"
#include "model/layers/plain_decoder.h"

namespace sluice {
namespace {

constexpr ConfigKey kJambaExpand{"mamba_expand", ""}, kJambaInner{"", "ssm.inner_size"}, kJambaRank{"mamba_dt_rank", "ssm.time_step_rank"};
constexpr ConfigKey kJambaState{"mamba_d_state", "ssm.state_size"}, kJambaTaps{"mamba_d_conv", "ssm.conv_kernel"};
constexpr ConfigKey kJambaExperts{"num_experts", "expert_count"};

Result<MambaConfig> read_jamba_mixer(const ConfigReader& config, const DecoderConfig& d) {
  MambaConfig m;
  m.hidden = d.info.hidden;
  SLUICE_TRY(const int64_t expand, config.integer_or(kJambaExpand, 2, 1, 64));
  SLUICE_TRY(m.inner, config.integer_or(kJambaInner, expand * m.hidden, 1, kMaxWidth));
  SLUICE_TRY(m.state, config.integer_or(kJambaState, 16, 1, kMaxHeadDim));
  SLUICE_TRY(const int64_t taps, config.integer_or(kJambaTaps, 4, 2, 64));
  m.taps = static_cast<int>(taps);
  const int64_t rank = (m.hidden + 15) / 16;
  if (config.metadata().string_or(kJambaRank.hf, "") == "auto") m.dt_rank = rank, config.note(kJambaRank, rank);
  else {
    SLUICE_TRY(m.dt_rank, config.integer_or(kJambaRank, rank, 1, kMaxWidth));
  }
  SLUICE_TRY_STATUS(config.only({"mamba_proj_bias", ""}, false));
  SLUICE_TRY(m.conv_bias, read_bias(config, "mamba_conv_bias", true));
  m.norms = d.norm;
  return m;
}

/// Layers offset, offset + period, ...
struct Every {
  int64_t period = 1, offset = 0;
  bool has(int layer) const { return layer % period == offset; }
  /// The first layers, as a GGUF lists them: of others the directory would not be the same model, which whoever writes it finds.
  static Every of(const std::vector<bool>& layers) {
    const auto first = std::ranges::find(layers, true), second = first == layers.end() ? first : std::find(first + 1, layers.end(), true);
    const auto count = static_cast<int64_t>(layers.size());
    return {second != layers.end() ? second - first : std::max(count, first - layers.begin() + 1), first - layers.begin()};
  }
  void note(const ConfigReader& config, std::string_view period_key, std::string_view offset_key) const {
    config.note({period_key, ""}, period);
    config.note({offset_key, ""}, offset);
  }
};
Result<Every> read_every(const ConfigReader& config, std::string_view period, std::string_view offset, Every otherwise) {
  Every e;
  SLUICE_TRY(e.period, config.integer_or({period, ""}, otherwise.period, 1, kMaxLayers));
  SLUICE_TRY(e.offset, config.integer_or({offset, ""}, otherwise.offset, 0, kMaxLayers));
  return e;
}

Result<Decoder> describe_jamba(const ConfigReader& config, const TensorSource& source) {
  DecoderDefaults defaults{.name = "jamba", .gguf = {"jamba"}, .rope = false, .own_layer_types = true,
                           .computes = {"num_experts", "num_local_experts", "gguf.expert_count"}};
  SLUICE_TRY_STATUS(expect_kv_heads_by_layer(config, defaults));
  SLUICE_TRY(PlainDecoder d, PlainDecoder::read(config, source, defaults));
  SLUICE_TRY(const MambaConfig mixer, read_jamba_mixer(config, d.config));
  SLUICE_TRY(const Every attention, read_every(config, "attn_layer_period", "attn_layer_offset", {8, 4}));
  SLUICE_TRY(const std::vector<bool> attends, read_attending(config, d.config, [&](int l) { return attention.has(l); }));
  SLUICE_TRY(const Every experts, read_every(config, "expert_layer_period", "expert_layer_offset", {2, 1}));
  SLUICE_TRY(const int64_t count, config.integer_or(kJambaExperts, config.is_gguf() ? 0 : 16, 0, 1 << 14));
  if (count > 1) {
    SLUICE_TRY(const MoeConfig moe, read_mixture(config, d.config, {.experts = kJambaExperts}));
    std::vector<bool> mixes;
    for (int l = 0; l < d.config.info.layers; ++l)
      mixes.push_back(config.is_gguf() ? source.find(fmt::format("blk.{}.ffn_gate_inp.weight", l)) != nullptr : experts.has(l));
    if (config.is_gguf()) Every::of(mixes).note(config, "expert_layer_period", "expert_layer_offset");
    d.ffn = [=](int l) { return mixes[static_cast<size_t>(l)] ? std::make_unique<MoeLayer>(moe) : nullptr; };
  }
  if (config.is_gguf()) {
    Every::of(attends).note(config, "attn_layer_period", "attn_layer_offset");
    if (mixer.inner % mixer.hidden == 0) config.note(kJambaExpand, mixer.inner / mixer.hidden);
  }
  d.mixer = [=](int l) { return attends[static_cast<size_t>(l)] ? nullptr : std::make_unique<MambaMixer>(mixer); };
  const std::string at = "model.layers.{}.";
  name_experts(d.names, "feed_forward");
  name_mamba(d.names, mixer, at + "mamba");
  d.names.hf("ffn_gate_inp", {at + "feed_forward.router"}).hf("ffn_norm", {at + "pre_ff_layernorm"}).hf("output_norm", {"model.final_layernorm"});
  for (const char* part : {"gate", "up", "down"}) d.names.hf(fmt::format("ffn_{}", part), {fmt::format("{}feed_forward.{}_proj", at, part)});
  return d.build();
}

}  // namespace

ModelArch jamba_arch() { return decoder_arch<describe_jamba>("jamba", {"JambaForCausalLM"}, {"jamba"}); }

}  // namespace sluice
