// Mistral: Llama's shape without biases, and attention over a window of positions unless sliding_window is null.
// Jiang et al. 2023, "Mistral 7B".

#include "model/layers/decoder_model.h"

namespace sluice {
namespace {

Result<DecoderConfig> parse(const ConfigReader& config, const TensorSource& source) {
  return read_decoder_config(config, source,
                             {.name = "mistral",
                              .gguf = {"llama", RopeStyle::interleaved},
                              .window = WindowRule::all_layers,
                              .sliding_window = 4096});
}

constexpr DecoderFamily kFamily{parse, decoder_tensors};

}  // namespace

ModelArch mistral_arch() { return decoder_arch<kFamily>("mistral", {"MistralForCausalLM"}, {}); }

}  // namespace sluice
