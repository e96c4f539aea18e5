// ModernBERT: an encoder with rotary positions, norms before the parts (none before the first attention), gated GELU, and attention to
// a window to both sides in all but every third layer, which rotates by a base of its own.
// Warner et al. 2024, "Smarter, better, faster, longer".

#include <algorithm>

#include "model/layers/encoder_model.h"
#include "model/layers/plain_decoder.h"

namespace sluice {
namespace {

constexpr ConfigKey kModernBertAct{"hidden_activation", "hidden_activation"};
constexpr ConfigKey kWindow{"local_attention", "attention.sliding_window"};
constexpr ConfigKey kPeriod{"global_attn_every_n_layers", "attention.sliding_window_pattern"};
constexpr ConfigKey kModernBertNormEps{"", "attention.layer_norm_epsilon"};
constexpr ConfigKey kLayerTypes{"layer_types", ""};
constexpr ConfigKey kLocalTheta{"local_rope_theta", "rope.freq_base_swa"};
constexpr ConfigKey kUnifiedLocalTheta{"rope_local_base_freq", ""};
constexpr ConfigKey kUnifiedTheta{"rope_theta", ""};
constexpr ConfigKey kPooling{"classifier_pooling", ""}, kPoolingType{"", "classifier.pooling_type"};  // in a GGUF 1: mean, 2: cls

Place in_layer(std::string_view rest) { return {"model.layers.{}." + std::string(rest)}; }

void name_tensors(PlainDecoder& d) {
  TensorNames names;
  names.hf("token_embd", {"model.embeddings.tok_embeddings"})
      .hf("token_embd_norm", {"model.embeddings.norm"})
      .hf("attn_norm", in_layer("attn_norm"))
      .hf("attn_output", in_layer("attn.Wo"))
      .hf("ffn_norm", in_layer("mlp_norm"))
      .hf("ffn_down", in_layer("mlp.Wo"))
      .hf("output_norm", {"model.final_norm"})
      .hf("cls", {"head.dense"})
      .hf("cls.norm", {"head.norm"})
      .hf("cls.output", {"classifier"});
  names.optional_prefixes = {"model."};
  fuse_qkv(names.huggingface, "model.layers.{}.attn.Wqkv", d.attention);
  fuse_gate_up(names.huggingface, "model.layers.{}.mlp.Wi", d.mlp.ffn);
  fuse_qkv(names.gguf, "attn_qkv", d.attention);
  fuse_gate_up(names.gguf, "ffn_up", d.mlp.ffn);
  d.names = std::move(names);
}

/// Which layers see a window only: all but every third, or as layer_types says, which a GGUF can say of a period only.
Result<std::vector<bool>> read_windowed(const ConfigReader& config, int layers) {
  SLUICE_TRY(const int64_t stated, config.integer_or(kPeriod, 3, 1, kMaxLayers));
  std::vector<bool> windowed;
  for (int l = 0; l < layers; ++l) windowed.push_back(l % stated != 0);
  if (config.has(kLayerTypes)) {
    const std::vector<std::string>* types = config.metadata().strings("layer_types");
    if (types == nullptr || types->size() != windowed.size())
      return config.invalid(kLayerTypes, fmt::format("must be an array of {} names, one per layer", layers));
    for (size_t l = 0; l < windowed.size(); ++l) {
      const std::string& type = (*types)[l];
      if (type != "full_attention" && type != "sliding_attention")
        return config.refused(kLayerTypes, fmt::format("has \"{}\"; this model family knows full_attention and sliding_attention", type.substr(0, 100)));
      windowed[l] = type == "sliding_attention";
    }
  }
  const auto second = std::find(windowed.begin() + 1, windowed.end(), false);
  const int64_t period = second - windowed.begin();
  bool periodic = true;
  for (size_t l = 0; l < windowed.size(); ++l) periodic &= windowed[l] == (static_cast<int64_t>(l) % period != 0);
  config.cannot_be_said(!periodic, "layer_types has no period");
  config.note(kPeriod, period < layers ? period : std::max(period, stated));
  if (config.is_gguf()) {
    std::vector<std::string> types;
    for (const bool slides : windowed) types.emplace_back(slides ? "sliding_attention" : "full_attention");
    config.note(kLayerTypes, std::move(types));
  }
  return windowed;
}

Result<EncoderParts> modernbert(const ConfigReader& config, const TensorSource& source) {
  DecoderDefaults defaults{.name = "modernbert",
                           .gguf = {"modern-bert", RopeStyle::half, false},
                           .norm = Norm::Kind::layer,
                           .norm_eps = 1e-5,
                           .rope_theta = 160000,
                           .tied = true,
                           .computes = {"hidden_activation", "layer_types", "gguf.attention.causal", "gguf.attention.sliding_window_pattern"}};
  defaults.keys.norm_eps = {"norm_eps", config.has(kModernBertNormEps) ? kModernBertNormEps.gguf : "attention.layer_norm_rms_epsilon"};
  if (!config.has(kUnifiedTheta)) defaults.keys.theta = {"global_rope_theta", "rope.freq_base"};
  defaults.window = WindowRule::by_type;  // counted below
  defaults.plain_local_rope = true;       // and so is their rotation
  SLUICE_TRY_STATUS(config.only({"", "attention.causal"}, false));
  SLUICE_TRY(PlainDecoder d, PlainDecoder::read(config, source, defaults));
  if (!config.is_gguf()) config.note(kModernBertNormEps, static_cast<double>(d.config.norm.eps));  // llama.cpp's converter writes both, and llama.cpp reads this one
  SLUICE_TRY(d.mlp.act, read_activation(config, kModernBertAct, "gelu"));
  SLUICE_TRY(d.mlp.bias, read_bias(config, "mlp_bias"));
  SLUICE_TRY(d.attention.qkv_bias, read_bias(config, "attention_bias"));
  d.attention.output_bias = d.attention.qkv_bias;
  SLUICE_TRY(d.config.norm.bias, read_bias(config, "norm_bias"));
  d.attention.causal = false;
  SLUICE_TRY(const int64_t window, config.integer_or(kWindow, 128, 1, kMaxPositions));
  SLUICE_TRY(const std::vector<bool> windowed, read_windowed(config, d.config.info.layers));
  SLUICE_TRY(const double local_theta, config.number_or(config.has(kUnifiedLocalTheta) ? kUnifiedLocalTheta : kLocalTheta, 10000.0, 1.0 + 1e-6, 1e12));
  const RopeConfig& global = *d.config.rope;
  const auto local = std::make_shared<RopeConfig>(plain_rope(local_theta, global.rotary_dims(), global.max_positions, global.style));
  for (size_t l = 0; l < windowed.size(); ++l) d.config.windows[l] = windowed[l] ? static_cast<int>(window) : 0;
  d.config.info.windowed = std::ranges::find(windowed, true) != windowed.end();
  d.each = [local](int, AttentionConfig& a, MlpConfig&) {
    if (a.window > 0) a.rope = local;
  };
  name_tensors(d);
  EncoderParts parts;
  parts.body = d.build();
  parts.body.layers.front().mixer_norm = NormLayer();
  parts.body.embedding_norm = NormLayer("token_embd_norm", d.config.norm, d.config.info.hidden);
  parts.classifier = {.dense = Presence::required, .act = ClassifierConfig::Act::gelu, .norm = d.config.norm};
  SLUICE_TRY_STATUS(config.only({"classifier_activation", ""}, std::string("gelu")));
  SLUICE_TRY(const int64_t type, config.integer_or(kPoolingType, 2, 1, 2));
  SLUICE_TRY(const std::string pooling, config.string_or(kPooling, type == 1 ? "mean" : "cls"));
  if (pooling != "cls" && pooling != "mean") return config.refused(kPooling, fmt::format("is \"{}\"; known are cls and mean", pooling));
  if (pooling == "mean") parts.classifier.pooling = Pooling::mean;
  config.note(kPoolingType, int64_t{pooling == "mean" ? 1 : 2});
  return parts;
}

}  // namespace

ModelArch modernbert_arch() {
  return encoder_arch<modernbert>("modernbert", {"ModernBertModel", "ModernBertForSequenceClassification", "ModernBertForMaskedLM"}, {"modern-bert"});
}

}  // namespace sluice
