#pragma once
// The settings that decoders share, read under either kind of file's names, and what a family makes of them.

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "model/layers/attention.h"
#include "model/layers/config_reader.h"
#include "model/layers/rope_config.h"
#include "model/model.h"
#include "weights/tensor_source.h"

namespace sluice {

// Bounds that no real model comes near, and within which no product of two overflows.
inline constexpr int64_t kMaxVocab = 1 << 24, kMaxWidth = 1 << 20, kMaxLayers = 4096, kMaxHeads = 1 << 14, kMaxHeadDim = 1 << 12,
                         kMaxPositions = int64_t{1} << 30;

/// Which layers see only a window of positions.
enum class WindowRule : uint8_t {
  none,        // none, unless a GGUF states attention.sliding_window
  all_layers,  // every layer, where sliding_window is set
  from_layer,  // layers from max_window_layers on, where use_sliding_window is true (Qwen)
  by_type,     // those that layer_types calls sliding_attention; without it, and in a GGUF, all but every n-th (window_period)
};

/// What a GGUF of the family is: its general.architecture, and the order of its Q and K rows (Hugging Face's is half).
struct GgufForm {
  std::string_view arch;
  RopeStyle rope = RopeStyle::half;
  bool one_window = true;  // it has one for all layers, rather than one for those that the family gives it
};

/// The names of settings that families call differently.
struct DecoderKeys {
  ConfigKey hidden{"hidden_size", "embedding_length"};
  ConfigKey ffn{"intermediate_size", "feed_forward_length"};
  ConfigKey layers{"num_hidden_layers", "block_count"};
  ConfigKey heads{"num_attention_heads", "attention.head_count"};
  ConfigKey kv_heads{"num_key_value_heads", "attention.head_count_kv"};
  ConfigKey positions{"max_position_embeddings", "context_length"};
  ConfigKey norm_eps{"rms_norm_eps", "attention.layer_norm_rms_epsilon"};
  ConfigKey theta{"rope_theta", "rope.freq_base"};
  ConfigKey head_dim{"head_dim", "attention.key_length"};
  ConfigKey vocab{"vocab_size", "vocab_size"};
};

/// What a family fixes, and what its settings are when a file leaves them out.
struct DecoderDefaults {
  std::string_view name;  // catalog name
  GgufForm gguf;
  DecoderKeys keys = {};
  Norm::Kind norm = Norm::Kind::rms;
  double norm_eps = 1e-6;
  bool rope = true;
  double rope_theta = 10000;
  RopeStyle hf_rope = RopeStyle::half;
  bool yarn_all_dim_in_gguf = false;  // its yarn_log_multiplier is what the magnitude is divided by, as mscale_all_dim is
  bool longrope_in_gguf = false;   // a GGUF that names no scaling may have longrope's
  bool gguf_yarn_truncate = true;  // what yarn does in a GGUF, which cannot say
  bool plain_local_rope = false;  // layers with a window rotate without the scaling
  double local_theta = 0;         // their base; 0: as the others'
  bool own_attention = false;  // the family reads its heads, rotation and windows itself
  bool no_heads = false;       // it has no attention, and its files no heads
  bool own_layer_types = false;  // it reads layer_types itself
  bool own_ffn = false;        // it reads the width of its feed-forward part itself, or has none
  double rotary_factor = 1;  // of a head's values; partial_rotary_factor says otherwise
  int64_t head_dim = 0;      // 0: hidden / heads
  int64_t heads = 0;         // 0: the file has to say
  int64_t kv_heads = 0;      // 0: as many as heads
  int64_t vocab = 0;         // where a config.json does not say; 0: it has to
  int64_t ffn = 0;           // 0: the file has to say; -n: n times hidden
  int64_t positions = 0;     // where a config.json does not say; 0: it has to
  WindowRule window = WindowRule::none;
  int64_t sliding_window = 0;     // positions, under a rule; null in config.json means none
  int64_t gguf_sliding_window = 0;  // the same of a GGUF that does not say
  int64_t max_window_layers = 0;  // under from_layer
  int window_period = 0, window_full = 0;  // under by_type: layer l sees everything where l % period == full
  bool tied = false;              // where tie_word_embeddings is left out
  /// Settings that change the output, and that the family computes: hf names, or gguf names after "gguf.".
  std::vector<std::string_view> computes = {};
};

struct DecoderConfig {
  ModelInfo info;
  GgufForm gguf;
  RopeStyle hf_rope = RopeStyle::half;  // the order of Q and K rows in Hugging Face files
  std::string_view hf_architecture;     // the one of config.json's "architectures" that this model is; empty: the family's first
  NormStyle norm;
  float attention_scale = 0;
  std::shared_ptr<RopeConfig> rope;      // of most layers; null: positions are not rotated
  std::shared_ptr<RopeConfig> local_rope;  // of layers with a window, where they rotate otherwise
  std::vector<int> windows;              // [layers]; 0: the layer sees every position, otherwise so many
  Presence head = Presence::if_present;  // the embedding is the head where there is none

  /// The attention of layer l, as most families have it.
  AttentionConfig attention(int layer) const;
};

/// Reads and checks what decoders share; settings that change the output and that neither this nor the family computes (other
/// activations, experts, soft caps, ...) are errors.
Result<DecoderConfig> read_decoder_config(const ConfigReader& config, const TensorSource& source, const DecoderDefaults& defaults);

/// Biases that config.json switches on under `hf_key` (missing: `otherwise`), and that a GGUF has or has not.
Result<Presence> read_bias(const ConfigReader& config, std::string_view hf_key, bool otherwise = false);

/// "hidden_act" and its relatives by the names that transformers gives them.
Result<Activation> read_activation(const ConfigReader& config, ConfigKey key, std::string_view otherwise);

}  // namespace sluice
