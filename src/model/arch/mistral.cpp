// Mistral: Llama's shape without biases, and attention over a window of positions where sliding_window is set.
// Jiang et al. 2023, "Mistral 7B".

#include "model/layers/decoder_model.h"

namespace sluice {
namespace {

Result<DecoderConfig> parse(const ConfigReader& config, const TensorSource& source) {
  return read_decoder_config(config, source, {.name = "mistral", .window = WindowRule::all_layers});
}

constexpr DecoderFamily kFamily{parse, decoder_tensors};

}  // namespace

ModelArch mistral_arch() { return decoder_arch<kFamily>("mistral", {"MistralForCausalLM"}, {}); }

}  // namespace sluice
