// Qwen3, dense: heads of their own size, and a norm on each head of q and k before the rotation.
// Yang et al. 2025, "Qwen3 technical report".

#include "model/layers/plain_decoder.h"

namespace sluice {
namespace {

Result<Decoder> describe_qwen3(const ConfigReader& config, const TensorSource& source) {
  SLUICE_TRY(PlainDecoder d, PlainDecoder::read(config, source,
                                                {.name = "qwen3",
                                                 .gguf = {"qwen3"},
                                                 .head_dim = 128,
                                                 .window = WindowRule::from_layer,
                                                 .sliding_window = 4096,
                                                 .max_window_layers = 28}));
  SLUICE_TRY(d.attention.qkv_bias, read_bias(config, "attention_bias"));
  d.attention.output_bias = d.attention.qkv_bias;
  d.attention.qk_norm = QkNorm::head;
  d.names.optional_prefixes = {"model."};  // which Qwen3-Embedding leaves out
  return d.build();
}

}  // namespace

ModelArch qwen3_arch() { return decoder_arch<describe_qwen3>("qwen3", {"Qwen3ForCausalLM"}, {"qwen3"}); }

}  // namespace sluice
