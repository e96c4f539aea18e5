#include "model/layers/decoder_config.h"

#include <algorithm>
#include <cmath>
#include <string>

namespace sluice {
namespace {

constexpr ConfigKey kValueDim{"", "attention.value_length"};
constexpr ConfigKey kRopeDim{"", "rope.dimension_count"};
constexpr ConfigKey kTied{"tie_word_embeddings", ""};
constexpr ConfigKey kScale{"", "attention.scale"};
constexpr ConfigKey kWindow{"sliding_window", "attention.sliding_window"};
constexpr ConfigKey kUseWindow{"use_sliding_window", ""};
constexpr ConfigKey kWindowLayers{"max_window_layers", ""};
constexpr ConfigKey kLayerTypes{"layer_types", ""};
constexpr ConfigKey kPattern{"", "attention.sliding_window_pattern"};
constexpr ConfigKey kLocalTheta{"rope_local_base_freq", "rope.freq_base_swa"};
constexpr ConfigKey kRotaryFactor{"partial_rotary_factor", ""};

// Settings that other models use and that change the output; they may only have their neutral value.
struct Neutral {
  ConfigKey key;
  MetadataValue value;
};

Status check_neutral(const ConfigReader& config, std::span<const std::string_view> computes) {
  const Neutral all[] = {
      {{"hidden_act", ""}, std::string("silu")},
      {{"hidden_activation", ""}, std::string("silu")},
      {{"activation_function", ""}, std::string("silu")},
      {{"rope_interleaved", ""}, false},
      {{"attention_multiplier", ""}, 1.0},
      {{"embedding_multiplier", "embedding_scale"}, 1.0},
      {{"residual_multiplier", "residual_scale"}, 1.0},
      {{"logits_scaling", "logit_scale"}, 1.0},
      {{"attn_logit_softcapping", "attn_logit_softcapping"}, 0.0},
      {{"final_logit_softcapping", "final_logit_softcapping"}, 0.0},
      {{"clip_qkv", "attention.clamp_kqv"}, 0.0},
      {{"qk_layernorm", ""}, false},
      {{"use_qk_norm", ""}, false},
      {{"qk_norm", ""}, false},
      {{"logit_scale", ""}, 1.0},
      {{"alibi", ""}, false},
      {{"num_experts", "expert_count"}, 0.0},
      {{"num_local_experts", ""}, 0.0},
      {{"n_routed_experts", ""}, 0.0},
      {{"", "attention.sliding_window_pattern"}, 0.0},
      {{"", "attention.max_alibi_bias"}, 0.0},
      {{"", "attention.causal"}, true},
      {{"", "use_parallel_residual"}, false},
      {{"", "attention.temperature_scale"}, 0.0},
  };
  const auto computed = [&](std::string_view name, std::string_view kind) {
    return std::ranges::any_of(computes, [&](std::string_view c) {
      return !name.empty() && (kind.empty() ? c == name : c.starts_with(kind) && c.substr(kind.size()) == name);
    });
  };
  for (const Neutral& n : all)
    if (!computed(n.key.hf, {}) && !computed(n.key.gguf, "gguf.")) SLUICE_TRY_STATUS(config.only(n.key, n.value));
  const Metadata& metadata = config.metadata();
  for (const auto& [key, value] : metadata.values())
    if (!config.is_gguf() && (key.starts_with("quantization_config.") || key.starts_with("compression_config.")))
      return unsupported(fmt::format("{}: {} is set, and says nothing that is understood of how the weights are quantized",
                                     metadata.origin(), key));
  return {};
}

// A GGUF need not state its vocabulary's size: the embedding table has it.
Result<int64_t> read_vocab(const ConfigReader& config, ConfigKey key, int64_t otherwise, const TensorSource& source) {
  if (otherwise > 0 && !config.is_gguf()) return config.integer_or(key, otherwise, 1, kMaxVocab);
  if (config.has(key) || !config.is_gguf()) return config.integer(key, 1, kMaxVocab);
  const TensorInfo* embedding = source.find("token_embd.weight");
  if (embedding == nullptr || embedding->shape.rank != 2)
    return corrupt_data(
        fmt::format("{}: tensor token_embd.weight [vocabulary, width] is missing", config.metadata().origin()));
  const int64_t rows = embedding->shape[0];
  if (rows < 1 || rows > kMaxVocab)
    return corrupt_data(fmt::format("{}: tensor token_embd.weight has {} rows; from 1 to {} are supported",
                                    config.metadata().origin(), rows, kMaxVocab));
  return rows;
}

// A GGUF's windows as config.json says which layers have one.
void note_window_rule(const ConfigReader& config, const DecoderDefaults& defaults, const std::vector<int>& windows) {
  if (!config.is_gguf()) return;
  const bool any = std::ranges::any_of(windows, [](int window) { return window > 0; });
  if (defaults.window == WindowRule::from_layer) {
    config.note(kUseWindow, any);
    if (any) config.note(kWindowLayers, int64_t{0});
  }
  if (defaults.window != WindowRule::by_type) return;
  std::vector<std::string> types;
  for (const int window : windows) types.emplace_back(window > 0 ? "sliding_attention" : "full_attention");
  config.note(kLayerTypes, std::move(types));
}

Result<std::vector<int>> read_windows(const ConfigReader& config, int layers, const DecoderDefaults& defaults) {
  std::vector<int> windows(static_cast<size_t>(layers), 0);
  const bool by_type = defaults.window == WindowRule::by_type;
  const WindowRule rule = config.is_gguf() && !by_type ? WindowRule::all_layers : defaults.window;
  bool in_use = rule == WindowRule::all_layers || by_type;
  if (rule == WindowRule::from_layer) {
    SLUICE_TRY(in_use, config.boolean_or(kUseWindow, false));
  }
  const bool own_types = std::ranges::find(defaults.computes, kLayerTypes.hf) != defaults.computes.end();
  const std::vector<std::string>* types = own_types ? nullptr : config.metadata().strings("layer_types");
  if (!own_types && config.has(kLayerTypes) && (types == nullptr || types->size() != windows.size()))
    return config.invalid(kLayerTypes, fmt::format("must be an array of {} names, one per layer", layers));
  if (types != nullptr && !defaults.own_layer_types) {
    for (const std::string& type : *types)
      if (type != "full_attention" && (type != "sliding_attention" || rule == WindowRule::none))
        return config.refused(kLayerTypes,
                              fmt::format("has \"{}\"; this model family knows full_attention{}", type.substr(0, 100),
                                          rule == WindowRule::none ? "" : " and sliding_attention"));
  }
  const int64_t unsaid = config.is_null(kWindow) ? 0 : config.is_gguf() ? defaults.gguf_sliding_window : defaults.sliding_window;
  SLUICE_TRY(const int64_t window, config.integer_or(kWindow, unsaid, 0, kMaxPositions));
  if (!in_use || window == 0) {
    config.forget(kWindow);
    if (config.is_gguf() && defaults.window != WindowRule::none) config.note_null(kWindow.hf);
    note_window_rule(config, defaults, windows);
    return windows;
  }
  SLUICE_TRY(const int64_t first, config.integer_or(kWindowLayers, defaults.max_window_layers, 0, kMaxPositions));
  config.forget(kWindowLayers);
  const std::vector<int64_t>* pattern = by_type && config.is_gguf() ? config.metadata().integers(config.name(kPattern)) : nullptr;
  if (pattern != nullptr && pattern->size() != windows.size())
    return config.invalid(kPattern, fmt::format("has {} values for {} layers", pattern->size(), layers));
  for (int l = 0; l < layers; ++l) {
    const bool slides = pattern != nullptr ? (*pattern)[static_cast<size_t>(l)] != 0
                        : types != nullptr ? (*types)[static_cast<size_t>(l)] == "sliding_attention"
                        : by_type        ? defaults.window_period > 0 && l % defaults.window_period != defaults.window_full
                                         : rule == WindowRule::all_layers || l >= first;
    if (slides) windows[static_cast<size_t>(l)] = static_cast<int>(window);
    const bool unsaid = defaults.window_period > 0 && l % defaults.window_period != defaults.window_full;
    config.cannot_be_said(by_type && !config.is_gguf() && !defaults.gguf.one_window && slides != unsaid,
                          fmt::format("layer {} has {} window", l, slides ? "a" : "no"));
  }
  note_window_rule(config, defaults, windows);
  return windows;
}

Result<Presence> read_head(const ConfigReader& config, bool otherwise) {
  if (config.is_gguf()) return Presence::if_present;
  if (!config.has(kTied) && !otherwise) return Presence::if_present;
  SLUICE_TRY(const bool tied, config.boolean_or(kTied, otherwise));
  return tied ? Presence::absent : Presence::required;
}

// Layers with a window may rotate by another base, or by the same without what stretches it.
Status read_local_rope(const ConfigReader& config, const DecoderDefaults& defaults, DecoderConfig& out) {
  const RopeConfig& rope = *out.rope;
  const double same = rope.settings.theta;
  SLUICE_TRY(const double theta, config.number_or(kLocalTheta, defaults.local_theta > 0 ? defaults.local_theta : same, 1.0 + 1e-6, 1e12));
  if (!defaults.plain_local_rope) {
    config.forget(kLocalTheta);
    if (theta != same)
      return config.refused(kLocalTheta, fmt::format("is {}; all layers of this model family rotate by {}", theta, same));
  } else if (out.info.windowed) {
    out.local_rope = std::make_shared<RopeConfig>(plain_rope(theta, rope.rotary_dims(), rope.max_positions, rope.style));
  }
  return {};
}

// The factor that gives just that many of a head's values, when it is multiplied and cut.
double share_of(int64_t rotary, int64_t head_dim) {
  const double share = static_cast<double>(rotary) / static_cast<double>(head_dim);
  return static_cast<int64_t>(share * static_cast<double>(head_dim)) == rotary ? share : std::nextafter(share, 2.0);
}

}  // namespace

Result<Presence> read_bias(const ConfigReader& config, std::string_view hf_key, bool otherwise) {
  if (config.is_gguf()) {
    config.note_biases(hf_key);
    return Presence::if_present;
  }
  SLUICE_TRY(const bool on, config.boolean_or({hf_key, ""}, otherwise));
  return on ? Presence::required : Presence::absent;
}

Result<Activation> read_activation(const ConfigReader& config, ConfigKey key, std::string_view otherwise) {
  static constexpr std::pair<std::string_view, Activation> kNames[] = {
      {"silu", Activation::silu},           {"swish", Activation::silu},
      {"gelu", Activation::gelu},           {"gelu_python", Activation::gelu},
      {"gelu_new", Activation::gelu_tanh},  {"gelu_pytorch_tanh", Activation::gelu_tanh},
      {"gelu_fast", Activation::gelu_tanh}, {"relu", Activation::relu},
      {"relu2", Activation::relu2},         {"relu_squared", Activation::relu2},
      {"quick_gelu", Activation::quick_gelu}};
  SLUICE_TRY(const std::string name, config.string_or(key, otherwise));
  std::string known;
  for (const auto& [each, activation] : kNames) {
    if (each == name) return activation;
    known += (known.empty() ? "" : ", ") + std::string(each);
  }
  return config.refused(key, fmt::format("is \"{}\"; known are {}", name.substr(0, 100), known));
}

AttentionConfig DecoderConfig::attention(int layer) const {
  AttentionConfig a;
  a.hidden = info.hidden;
  a.heads = info.heads, a.kv_heads = info.kv_heads, a.head_dim = info.head_dim;
  a.scale = attention_scale;
  a.window = windows[static_cast<size_t>(layer)];
  a.rope = rope;
  a.qk_norm_style = norm;
  return a;
}

Result<DecoderConfig> read_decoder_config(const ConfigReader& config, const TensorSource& source, const DecoderDefaults& defaults) {
  SLUICE_TRY_STATUS(check_neutral(config, defaults.computes));
  const DecoderKeys& keys = defaults.keys;
  DecoderConfig out;
  ModelInfo& info = out.info;
  info.arch = defaults.name;
  out.gguf = defaults.gguf;
  out.hf_rope = defaults.hf_rope;
  SLUICE_TRY(info.hidden, config.integer(keys.hidden, 1, kMaxWidth));
  if (defaults.own_ffn) {
    info.ffn = 0;
  } else if (defaults.ffn == 0) {
    SLUICE_TRY(info.ffn, config.integer(keys.ffn, 1, kMaxWidth * 4));
  } else {
    SLUICE_TRY(info.ffn, config.integer_or(keys.ffn, defaults.ffn > 0 ? defaults.ffn : -defaults.ffn * info.hidden, 1, kMaxWidth * 4));
  }
  SLUICE_TRY(const int64_t layers, config.integer(keys.layers, 1, kMaxLayers));
  int64_t heads = 0, kv_heads = 0;
  if (defaults.no_heads) {
    config.note({"", "attention.head_count"}, int64_t{0});
  } else {
    if (defaults.heads == 0 || config.is_gguf()) {
      SLUICE_TRY(heads, config.integer(keys.heads, 1, kMaxHeads));
    } else {
      SLUICE_TRY(heads, config.integer_or(keys.heads, defaults.heads, 1, kMaxHeads));
    }
    // A GGUF that leaves them out has as many as heads, unless the family has read them from elsewhere.
    const bool known = defaults.kv_heads > 0 && (!config.is_gguf() || std::string_view(keys.kv_heads.gguf).empty());
    SLUICE_TRY(kv_heads, config.integer_or(keys.kv_heads, known ? defaults.kv_heads : heads, 1, kMaxHeads));
    if (heads % kv_heads != 0)
      return config.invalid(
          keys.heads, fmt::format("is {}; it must be a multiple of {}, {}", heads, config.name(keys.kv_heads), kv_heads));
  }
  info.layers = static_cast<int>(layers);
  info.heads = static_cast<int>(heads);
  SLUICE_TRY(info.vocab_size, read_vocab(config, keys.vocab, defaults.vocab, source));
  config.note(keys.vocab, info.vocab_size);
  int64_t positions = defaults.positions;
  if (positions == 0 || config.has(keys.positions)) {
    SLUICE_TRY(positions, config.integer(keys.positions, 1, kMaxPositions));
  } else {
    config.note(keys.positions, positions);
  }
  info.max_positions = std::min(positions, kMaxPositions);
  out.norm.kind = defaults.norm;
  SLUICE_TRY(const double eps, config.is_gguf() ? config.number(keys.norm_eps, 0.0, 1.0)
                                                : config.number_or(keys.norm_eps, defaults.norm_eps, 0.0, 1.0));
  out.norm.eps = static_cast<float>(eps);
  if (defaults.norm == Norm::Kind::layer) out.norm.bias = Presence::required;
  SLUICE_TRY(out.head, read_head(config, defaults.tied));
  out.windows.assign(static_cast<size_t>(layers), 0);
  if (defaults.own_attention || defaults.no_heads) return out;
  int64_t head_dim = defaults.head_dim;
  if (config.has(keys.head_dim) || head_dim != 0) {
    SLUICE_TRY(head_dim, config.integer_or(keys.head_dim, head_dim, 2, kMaxHeadDim));
  } else if (info.hidden % heads == 0) {
    head_dim = info.hidden / heads;
    config.note(keys.head_dim, head_dim);
  } else {
    return config.invalid(keys.hidden, fmt::format("is {}; it must be a multiple of {}, {}, or {} must be given",
                                                   info.hidden, config.name(keys.heads), heads, config.name(keys.head_dim)));
  }
  const ConfigKey head_dim_key = config.has(keys.head_dim) ? keys.head_dim : keys.hidden;
  if (head_dim % 2 != 0 || head_dim > kMaxHeadDim)
    return config.invalid(head_dim_key, fmt::format("gives heads of {} values; they must be even, and at most {}",
                                                    head_dim, kMaxHeadDim));
  SLUICE_TRY_STATUS(config.only(kValueDim, head_dim));
  config.note(kValueDim, head_dim);
  info.kv_heads = static_cast<int>(kv_heads);
  info.head_dim = static_cast<int>(head_dim);
  SLUICE_TRY(double scale, config.number_or(kScale, 0.0, 0.0, 1e6));
  config.forget(kScale);
  if (scale != 0 && scale < 1e-6)
    return config.invalid(kScale, fmt::format("is {}; it must be from 1e-06 to 1e+06", scale));
  if (scale == 0) scale = 1 / std::sqrt(static_cast<double>(head_dim));
  out.attention_scale = static_cast<float>(scale);
  if (defaults.rope) {
    const bool partial = defaults.rotary_factor != 1 || std::ranges::find(defaults.computes, "partial_rotary_factor") != defaults.computes.end();
    int64_t rotary = head_dim;
    if (config.is_gguf()) {
      SLUICE_TRY(rotary, config.integer_or(kRopeDim, head_dim, 2, head_dim));
      if (partial) config.note(kRotaryFactor, share_of(rotary, head_dim));
    } else {
      SLUICE_TRY(const double factor, config.number_or(kRotaryFactor, defaults.rotary_factor, 0.0, 1.0));
      config.forget(kRotaryFactor);
      rotary = static_cast<int64_t>(factor * static_cast<double>(head_dim));
      config.note(kRopeDim, rotary);
      if (rotary < 2) return config.invalid(kRotaryFactor, fmt::format("is {}, which rotates {} of {} values", factor, rotary, head_dim));
    }
    if (rotary % 2 != 0 || rotary > head_dim || (rotary != head_dim && !partial))
      return config.refused(config.is_gguf() ? kRopeDim : kRotaryFactor,
                            fmt::format("rotates {} of {} values; this model family rotates all of them", rotary, head_dim));
    SLUICE_TRY(RopeConfig rope, read_rope(config, {.theta = keys.theta,
                                                   .default_theta = defaults.rope_theta,
                                                   .rotary_dims = static_cast<int>(rotary),
                                                   .positions = positions,
                                                   .style = config.is_gguf() ? defaults.gguf.rope : defaults.hf_rope,
                                                   .gguf_truncate = defaults.gguf_yarn_truncate,
                                                   .all_dim_in_gguf = defaults.yarn_all_dim_in_gguf,
                                                   .longrope_in_gguf = defaults.longrope_in_gguf,
                                                   .also = defaults.computes}));
    out.rope = std::make_shared<RopeConfig>(std::move(rope));
    info.max_positions = std::min(out.rope->max_positions, kMaxPositions);
  }
  SLUICE_TRY(out.windows, read_windows(config, info.layers, defaults));
  info.windowed = std::ranges::any_of(out.windows, [](int window) { return window > 0; });
  if (out.rope != nullptr) SLUICE_TRY_STATUS(read_local_rope(config, defaults, out));
  return out;
}

}  // namespace sluice
