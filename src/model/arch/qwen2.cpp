// Qwen2 and Qwen2.5, dense: Llama's shape with biases on q, k and v, and windows on the upper layers where they are on.
// Yang et al. 2024, "Qwen2 technical report".

#include "model/layers/decoder_model.h"

namespace sluice {
namespace {

Result<DecoderConfig> parse(const ConfigReader& config, const TensorSource& source) {
  SLUICE_TRY(DecoderConfig out,
             read_decoder_config(config, source,
                                 {.name = "qwen2",
                                  .gguf = {"qwen2"},
                                  .window = WindowRule::from_layer,
                                  .sliding_window = 4096,
                                  .max_window_layers = 28}));
  out.qkv_bias = Presence::required;
  return out;
}

constexpr DecoderFamily kFamily{parse, decoder_tensors};

}  // namespace

ModelArch qwen2_arch() { return decoder_arch<kFamily>("qwen2", {"Qwen2ForCausalLM"}, {"qwen2"}); }

}  // namespace sluice
