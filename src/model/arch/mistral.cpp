// Mistral: Llama's shape without biases, and attention over a window of positions unless sliding_window is null.
// Jiang et al. 2023, "Mistral 7B".

#include "model/layers/plain_decoder.h"

namespace sluice {
namespace {

Result<Decoder> describe(const ConfigReader& config, const TensorSource& source) {
  SLUICE_TRY(PlainDecoder d, PlainDecoder::read(config, source,
                                                {.name = "mistral",
                                                 .gguf = {"llama", RopeStyle::interleaved},
                                                 .window = WindowRule::all_layers,
                                                 .sliding_window = 4096}));
  return d.build();
}

}  // namespace

ModelArch mistral_arch() { return decoder_arch<describe>("mistral", {"MistralForCausalLM"}, {}); }

}  // namespace sluice
