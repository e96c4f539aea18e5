// Llama 1, 2, 3, and models of the same shape. GGUF files hold the rows of Q and K permuted, so that the rotation pairs
// neighbours; Llama 3's frequency factors come as a tensor there.
// Touvron et al. 2023, "LLaMA"; Touvron et al. 2023, "Llama 2"; Dubey et al. 2024, "The Llama 3 herd of models".

#include "model/layers/decoder_model.h"

namespace sluice {
namespace {

Result<DecoderConfig> parse(const ConfigReader& config, const TensorSource& source) {
  SLUICE_TRY(DecoderConfig out,
             read_decoder_config(config, source, {.name = "llama", .gguf = {"llama", RopeStyle::interleaved}}));
  SLUICE_TRY(out.qkv_bias, read_bias(config, "attention_bias"));
  SLUICE_TRY(out.mlp_bias, read_bias(config, "mlp_bias"));
  out.output_bias = out.qkv_bias;
  return out;
}

constexpr DecoderFamily kFamily{parse, decoder_tensors};

}  // namespace

ModelArch llama_arch() { return decoder_arch<kFamily>("llama", {"LlamaForCausalLM", "LLaMAForCausalLM"}, {"llama"}); }

}  // namespace sluice
