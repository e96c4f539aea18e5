#include "model/layers/decoder_config.h"

#include <algorithm>
#include <cmath>
#include <string>

namespace sluice {
namespace {

constexpr ConfigKey kVocab{"vocab_size", "vocab_size"};
constexpr ConfigKey kHidden{"hidden_size", "embedding_length"};
constexpr ConfigKey kFfn{"intermediate_size", "feed_forward_length"};
constexpr ConfigKey kLayers{"num_hidden_layers", "block_count"};
constexpr ConfigKey kHeads{"num_attention_heads", "attention.head_count"};
constexpr ConfigKey kKvHeads{"num_key_value_heads", "attention.head_count_kv"};
constexpr ConfigKey kHeadDim{"head_dim", "attention.key_length"};
constexpr ConfigKey kValueDim{"", "attention.value_length"};
constexpr ConfigKey kRopeDim{"", "rope.dimension_count"};
constexpr ConfigKey kPositions{"max_position_embeddings", "context_length"};
constexpr ConfigKey kNormEps{"rms_norm_eps", "attention.layer_norm_rms_epsilon"};
constexpr ConfigKey kTied{"tie_word_embeddings", ""};
constexpr ConfigKey kScale{"", "attention.scale"};
constexpr ConfigKey kWindow{"sliding_window", "attention.sliding_window"};
constexpr ConfigKey kUseWindow{"use_sliding_window", ""};
constexpr ConfigKey kWindowLayers{"max_window_layers", ""};
constexpr ConfigKey kLayerTypes{"layer_types", ""};

// Bounds that no real model comes near, and within which no product below overflows.
constexpr int64_t kMaxVocab = 1 << 24, kMaxWidth = 1 << 20, kMaxLayers = 4096, kMaxHeads = 1 << 14,
                  kMaxHeadDim = 1 << 12;
constexpr int64_t kMaxPositions = int64_t{1} << 30;

// Settings that other models use and that change the output; they may only have their neutral value.
struct Neutral {
  ConfigKey key;
  MetadataValue value;
};

Status check_neutral(const ConfigReader& config) {
  const Neutral all[] = {
      {{"hidden_act", ""}, std::string("silu")},
      {{"hidden_activation", ""}, std::string("silu")},
      {{"partial_rotary_factor", ""}, 1.0},
      {{"rope_interleaved", ""}, false},
      {{"attention_multiplier", ""}, 1.0},
      {{"embedding_multiplier", "embedding_scale"}, 1.0},
      {{"residual_multiplier", "residual_scale"}, 1.0},
      {{"logits_scaling", "logit_scale"}, 1.0},
      {{"attn_logit_softcapping", "attn_logit_softcapping"}, 0.0},
      {{"final_logit_softcapping", "final_logit_softcapping"}, 0.0},
      {{"clip_qkv", "attention.clamp_kqv"}, 0.0},
      {{"num_experts", "expert_count"}, 0.0},
      {{"num_local_experts", ""}, 0.0},
      {{"", "attention.sliding_window_pattern"}, 0.0},
      {{"", "attention.max_alibi_bias"}, 0.0},
      {{"", "attention.causal"}, true},
      {{"", "use_parallel_residual"}, false},
      {{"", "attention.temperature_scale"}, 0.0},
  };
  for (const Neutral& n : all) SLUICE_TRY_STATUS(config.only(n.key, n.value));
  const Metadata& metadata = config.metadata();
  for (const auto& [key, value] : metadata.values())
    if (!config.is_gguf() && (key.starts_with("quantization_config.") || key.starts_with("compression_config.")))
      return unsupported(fmt::format("{}: {} is set; weights quantized by other tools are not read (GGUF files are)",
                                     metadata.origin(), key));
  return {};
}

// A GGUF need not state its vocabulary's size: the embedding table has it.
Result<int64_t> read_vocab(const ConfigReader& config, const TensorSource& source) {
  if (config.has(kVocab) || !config.is_gguf()) return config.integer(kVocab, 1, kMaxVocab);
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

Result<std::vector<int>> read_windows(const ConfigReader& config, int layers, const DecoderDefaults& defaults) {
  std::vector<int> windows(static_cast<size_t>(layers), 0);
  const WindowRule rule = config.is_gguf() ? WindowRule::all_layers : defaults.window;
  bool in_use = rule == WindowRule::all_layers;
  if (rule == WindowRule::from_layer) {
    SLUICE_TRY(in_use, config.boolean_or(kUseWindow, false));
  }
  const std::vector<std::string>* types = config.metadata().strings("layer_types");
  if (config.has(kLayerTypes) && (types == nullptr || types->size() != windows.size()))
    return config.invalid(kLayerTypes, fmt::format("must be an array of {} names, one per layer", layers));
  if (types != nullptr) {
    for (const std::string& type : *types)
      if (type != "full_attention" && (type != "sliding_attention" || rule == WindowRule::none))
        return config.refused(kLayerTypes,
                              fmt::format("has \"{}\"; this model family knows full_attention{}", type.substr(0, 100),
                                          rule == WindowRule::none ? "" : " and sliding_attention"));
  }
  const int64_t unsaid = config.is_gguf() || config.is_null(kWindow) ? 0 : defaults.sliding_window;
  SLUICE_TRY(const int64_t window, config.integer_or(kWindow, unsaid, 0, kMaxPositions));
  if (!in_use || window == 0) return windows;
  SLUICE_TRY(const int64_t first, config.integer_or(kWindowLayers, defaults.max_window_layers, 0, kMaxPositions));
  for (size_t l = 0; l < windows.size(); ++l) {
    const bool slides = types != nullptr ? (*types)[l] == "sliding_attention"
                                         : rule == WindowRule::all_layers || static_cast<int64_t>(l) >= first;
    if (slides) windows[l] = static_cast<int>(window);
  }
  return windows;
}

Result<Presence> read_head(const ConfigReader& config) {
  if (!config.has(kTied)) return Presence::if_present;
  SLUICE_TRY(const bool tied, config.boolean_or(kTied, false));
  return tied ? Presence::absent : Presence::required;
}

}  // namespace

Result<Presence> read_bias(const ConfigReader& config, std::string_view hf_key) {
  if (config.is_gguf()) return Presence::if_present;
  SLUICE_TRY(const bool on, config.boolean_or({hf_key, ""}, false));
  return on ? Presence::required : Presence::absent;
}

Result<DecoderConfig> read_decoder_config(const ConfigReader& config, const TensorSource& source,
                                          const DecoderDefaults& defaults) {
  SLUICE_TRY_STATUS(check_neutral(config));
  DecoderConfig out;
  ModelInfo& info = out.info;
  info.arch = defaults.name;
  out.gguf = defaults.gguf;
  SLUICE_TRY(info.hidden, config.integer(kHidden, 1, kMaxWidth));
  SLUICE_TRY(info.ffn, config.integer(kFfn, 1, kMaxWidth * 4));
  SLUICE_TRY(const int64_t layers, config.integer(kLayers, 1, kMaxLayers));
  SLUICE_TRY(const int64_t heads, config.integer(kHeads, 1, kMaxHeads));
  SLUICE_TRY(const int64_t kv_heads, config.integer_or(kKvHeads, heads, 1, kMaxHeads));
  if (heads % kv_heads != 0)
    return config.invalid(
        kHeads, fmt::format("is {}; it must be a multiple of {}, {}", heads, config.name(kKvHeads), kv_heads));
  int64_t head_dim = defaults.head_dim;
  if (config.has(kHeadDim) || head_dim != 0) {
    SLUICE_TRY(head_dim, config.integer_or(kHeadDim, head_dim, 2, kMaxHeadDim));
  } else if (info.hidden % heads == 0) {
    head_dim = info.hidden / heads;
  } else {
    return config.invalid(kHidden, fmt::format("is {}; it must be a multiple of {}, {}, or {} must be given",
                                               info.hidden, config.name(kHeads), heads, config.name(kHeadDim)));
  }
  const ConfigKey head_dim_key = config.has(kHeadDim) ? kHeadDim : kHidden;
  if (head_dim % 2 != 0 || head_dim > kMaxHeadDim)
    return config.invalid(head_dim_key, fmt::format("gives heads of {} values; they must be even, and at most {}",
                                                    head_dim, kMaxHeadDim));
  SLUICE_TRY_STATUS(config.only(kValueDim, head_dim));
  SLUICE_TRY_STATUS(config.only(kRopeDim, head_dim));
  info.layers = static_cast<int>(layers);
  info.heads = static_cast<int>(heads);
  info.kv_heads = static_cast<int>(kv_heads);
  info.head_dim = static_cast<int>(head_dim);
  SLUICE_TRY(info.vocab_size, read_vocab(config, source));
  SLUICE_TRY(const int64_t positions, config.integer(kPositions, 1, kMaxPositions));

  SLUICE_TRY(const double eps,
             config.is_gguf() ? config.number(kNormEps, 0.0, 1.0) : config.number_or(kNormEps, 1e-6, 0.0, 1.0));
  out.norm_eps = static_cast<float>(eps);
  SLUICE_TRY(double scale, config.number_or(kScale, 0.0, 0.0, 1e6));
  if (scale != 0 && scale < 1e-6)
    return config.invalid(kScale, fmt::format("is {}; it must be from 1e-06 to 1e+06", scale));
  if (scale == 0) scale = 1 / std::sqrt(static_cast<double>(head_dim));
  out.attention_scale = static_cast<float>(scale);
  const RopeStyle style = config.is_gguf() ? defaults.gguf.rope : RopeStyle::half;
  SLUICE_TRY(out.rope, read_rope(config, defaults.rope_theta, info.head_dim, positions, style));
  info.max_positions = std::min(out.rope.max_positions, kMaxPositions);
  SLUICE_TRY(out.windows, read_windows(config, info.layers, defaults));
  info.windowed = std::ranges::any_of(out.windows, [](int window) { return window > 0; });
  SLUICE_TRY(out.head, read_head(config));
  return out;
}

KvSpec decoder_kv(const DecoderConfig& config) {
  const ModelInfo& info = config.info;
  return {{KvGroup{KvGroup::Kind::full, 0, info.layers, info.kv_heads, info.head_dim, 0}}};
}

}  // namespace sluice
