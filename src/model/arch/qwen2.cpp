// Qwen2 and Qwen2.5, dense: Llama's shape with biases on q, k and v, and windows on the upper layers where they are on.
// Yang et al. 2024, "Qwen2 technical report".

#include "model/layers/plain_decoder.h"

namespace sluice {
namespace {

Result<Decoder> describe_qwen2(const ConfigReader& config, const TensorSource& source) {
  SLUICE_TRY(PlainDecoder d, PlainDecoder::read(config, source,
                                                {.name = "qwen2",
                                                 .gguf = {"qwen2"},
                                                 .window = WindowRule::from_layer,
                                                 .sliding_window = 4096,
                                                 .max_window_layers = 28}));
  d.attention.qkv_bias = Presence::required;
  return d.build();
}

}  // namespace

ModelArch qwen2_arch() { return decoder_arch<describe_qwen2>("qwen2", {"Qwen2ForCausalLM"}, {"qwen2"}); }

}  // namespace sluice
