#pragma once
// The settings that the decoder-only families with pre-norm, rotary attention and a gated SiLU MLP share.

#include <cstdint>
#include <string_view>
#include <vector>

#include "backend/row_args.h"
#include "base/result.h"
#include "model/layers/config_reader.h"
#include "model/layers/rope_config.h"
#include "model/model.h"
#include "weights/tensor_source.h"

namespace sluice {

/// Whether a tensor is part of a model. A file that need not say (GGUF has no key for biases) decides by holding it.
enum class Presence : uint8_t { absent, required, if_present };

/// Which layers see only a window of positions.
enum class WindowRule : uint8_t {
  none,        // none, unless a GGUF states attention.sliding_window
  all_layers,  // every layer, where sliding_window is set
  from_layer,  // layers from max_window_layers on, where use_sliding_window is true (Qwen)
};

/// What a GGUF of the family is: its general.architecture, and the order of its Q and K rows (Hugging Face's is half).
struct GgufForm {
  std::string_view arch;
  RopeStyle rope = RopeStyle::half;
};

/// What a family fixes, and what its settings are when a file leaves them out.
struct DecoderDefaults {
  std::string_view name;  // catalog name
  GgufForm gguf;
  double rope_theta = 10000;
  int64_t head_dim = 0;  // 0: hidden / heads
  WindowRule window = WindowRule::none;
  int64_t sliding_window = 0;     // positions, under a rule; null in config.json means none
  int64_t max_window_layers = 0;  // under from_layer
};

struct DecoderConfig {
  ModelInfo info;
  GgufForm gguf;
  float norm_eps = 0;
  float attention_scale = 0;
  RopeConfig rope;
  std::vector<int> windows;              // [layers]; 0: the layer sees every position, otherwise so many
  Presence head = Presence::if_present;  // the embedding is the head where there is none
  // Biases of q, k and v, of the attention's output, and of the MLP; each family sets its own.
  Presence qkv_bias = Presence::absent, output_bias = Presence::absent, mlp_bias = Presence::absent;

  Norm rms_norm(const float* gain) const { return {Norm::Kind::rms, gain, nullptr, norm_eps}; }
};

/// Reads and checks what all these families share; settings that change the output in a way that is not computed here
/// (other activations, partial rotation, experts, soft caps, quantization of other tools, ...) are errors.
Result<DecoderConfig> read_decoder_config(const ConfigReader& config, const TensorSource& source,
                                          const DecoderDefaults& defaults);

/// A bias that config.json switches on under `hf_key` (missing: off), and that a GGUF has or has not.
Result<Presence> read_bias(const ConfigReader& config, std::string_view hf_key);

/// One block table group over all layers: windows limit what a row reads, not what is kept.
KvSpec decoder_kv(const DecoderConfig& config);

}  // namespace sluice
