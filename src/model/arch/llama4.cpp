// Llama 4, text: three of four layers see their chunk of positions and rotate, the fourth sees all, does not rotate and scales its
// queries by position; dense and mixed layers in turn, of whose experts one is chosen, whose input is weighed.
// Meta AI 2025, "The Llama 4 herd".

#include <algorithm>

#include "model/arch/mixtures.h"
#include "model/layers/plain_decoder.h"

namespace sluice {
namespace {

constexpr ConfigKey kDenseFfn{"intermediate_size_mlp", "feed_forward_length"};
constexpr ConfigKey kLlama4ExpertFfn{"intermediate_size", "expert_feed_forward_length"};
constexpr ConfigKey kStep{"interleave_moe_layer_step", "interleave_moe_layer_step"};
constexpr ConfigKey kMixed{"moe_layers", ""};
constexpr ConfigKey kLlama4Rotated{"no_rope_layers", ""};  // 1: the layer does rotate
constexpr ConfigKey kChunk{"attention_chunk_size", "attention.chunk_size"};
constexpr ConfigKey kTuning{"attn_temperature_tuning", ""}, kTuningScale{"attn_scale", "attention.temperature_scale"},
    kTuningPeriod{"floor_scale", "attention.temperature_length"};
constexpr int64_t kExpertsWithoutNorm = 128;  // of the model that does not norm q and k; its GGUF does not say it

/// Which layers rotate.
Result<std::vector<int64_t>> read_rotated(const ConfigReader& config, int layers) {
  std::vector<int64_t> rotated;
  for (int l = 0; l < layers; ++l) rotated.push_back((l + 1) % 4 != 0);
  if (config.has(kLlama4Rotated)) return config.integers(kLlama4Rotated, rotated.size(), 0, 1);
  return rotated;
}

Result<Decoder> describe_llama4(const ConfigReader& config, const TensorSource& source) {
  DecoderDefaults defaults{.name = "llama4",
                           .gguf = {"llama4", RopeStyle::interleaved},
                           .norm_eps = 1e-5,
                           .rope_theta = 500000,
                           .hf_rope = RopeStyle::interleaved,
                           .head_dim = 128,
                           .kv_heads = 8,
                           .computes = {"num_local_experts", "gguf.expert_count", "use_qk_norm", "layer_types", "gguf.attention.temperature_scale"}};
  defaults.keys.ffn = kDenseFfn;
  SLUICE_TRY(PlainDecoder d, PlainDecoder::read(config, source, defaults));
  SLUICE_TRY(d.attention.qkv_bias, read_bias(config, "attention_bias"));
  d.attention.output_bias = d.attention.qkv_bias;
  SLUICE_TRY(MoeConfig moe, read_mixture(config, d.config, {.ffn = kLlama4ExpertFfn}));
  moe.routing.score = Routing::Score::sigmoid;
  moe.weighs_input = true;
  moe.shared_ffn = moe.ffn;
  if (moe.routing.top_k != 1)
    return config.refused({"num_experts_per_tok", "expert_used_count"}, fmt::format("is {}; one expert's input is weighed here", moe.routing.top_k));
  SLUICE_TRY(const int64_t step, config.integer_or(kStep, 1, 1, kMaxLayers));
  const std::vector<int64_t>* listed = config.metadata().integers(kMixed.hf);
  const std::vector<int64_t> mixed = listed != nullptr && !config.is_gguf() ? *listed : std::vector<int64_t>();
  d.ffn = [=](int layer) -> std::unique_ptr<FeedForward> {
    const bool has = mixed.empty() ? (layer + 1) % step == 0 : std::ranges::find(mixed, layer) != mixed.end();
    return has ? std::make_unique<MoeLayer>(moe) : nullptr;
  };
  SLUICE_TRY(bool norms, config.boolean_or({"use_qk_norm", ""}, true));
  if (config.is_gguf()) {
    norms = moe.routing.experts != kExpertsWithoutNorm;
    config.note({"use_qk_norm", ""}, norms);
  }
  SLUICE_TRY(const std::vector<int64_t> rotated, read_rotated(config, d.config.info.layers));
  SLUICE_TRY(const int64_t chunk, config.integer_or(kChunk, config.is_null(kChunk) ? 0 : 8192, 0, kMaxPositions));
  config.cannot_be_said(chunk == 0, "attention_chunk_size is null");
  bool tuned = true;
  if (const auto at = config.metadata().values().find(kTuning.hf); !config.is_gguf() && at != config.metadata().values().end()) {
    if (const auto* number = std::get_if<int64_t>(&at->second)) tuned = *number != 0;  // as the first files had it
    else {
      SLUICE_TRY(tuned, config.boolean_or(kTuning, true));
    }
  }
  SLUICE_TRY(const double beta, config.number_or(kTuningScale, 0.1, 0.0, 1e6));
  SLUICE_TRY(const double period, config.number_or(kTuningPeriod, 8192.0, 1.0, 1e12));
  config.cannot_be_said(!tuned, "attn_temperature_tuning is false");
  config.cannot_be_said(norms != (moe.routing.experts != kExpertsWithoutNorm), fmt::format("use_qk_norm is {}", norms));
  for (size_t l = 0; l < rotated.size(); ++l)
    config.cannot_be_said((rotated[l] != 0) != ((l + 1) % 4 != 0), fmt::format("no_rope_layers has {} for layer {}", rotated[l], l));
  for (const int64_t layer : mixed) config.cannot_be_said((layer + 1) % step != 0, fmt::format("moe_layers has {}", layer));
  d.each = [=](int layer, AttentionConfig& a, MlpConfig&) {
    if (rotated[static_cast<size_t>(layer)] != 0) {
      a.chunk = static_cast<int>(chunk);
      if (!norms) return;
      a.qk_norm = QkNorm::head;
      a.qk_norm_style.gain = Presence::absent;
      a.norm_after_rope = true;
    } else {
      a.rope = nullptr;
      if (!tuned) return;
      a.position_beta = static_cast<float>(beta);
      a.position_period = static_cast<float>(period);
      a.position_offset = 1;
    }
  };
  const std::string at = "model.layers.{}.feed_forward.";
  for (const char* part : {"gate", "up", "down"}) {
    d.names.hf(fmt::format("ffn_{}", part), {at + part + "_proj"});
    d.names.hf(fmt::format("ffn_{}_shexp", part), {at + "shared_expert." + part + "_proj"});
  }
  const Place both{.name = at + "experts.gate_up_proj", .of_rows = 2 * moe.ffn, .transposed = true};
  Place up = both;
  up.rows.first = moe.ffn;
  d.names.hf("ffn_gate_inp", {at + "router"})
      .hf("ffn_gate_exps.weight", both)
      .hf("ffn_up_exps.weight", up)
      .hf("ffn_down_exps.weight", {.name = at + "experts.down_proj", .transposed = true});
  d.names.optional_prefixes = {"language_model.", "model.language_model."};
  return d.build();
}

}  // namespace

ModelArch llama4_arch() {
  return decoder_arch<describe_llama4>("llama4", {"Llama4ForCausalLM", "Llama4ForConditionalGeneration"}, {"llama4"});
}

}  // namespace sluice
