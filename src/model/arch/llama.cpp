// Llama 1, 2, 3, and models of the same shape. GGUF files hold the rows of Q and K permuted, so that the rotation pairs
// neighbours; Llama 3's frequency factors come as a tensor there.
// Touvron et al. 2023, "LLaMA"; Touvron et al. 2023, "Llama 2"; Dubey et al. 2024, "The Llama 3 herd of models".

#include "model/arch/mixtures.h"
#include "model/layers/plain_decoder.h"

namespace sluice {

namespace {

Result<Decoder> describe_llama(const ConfigReader& config, const TensorSource& source) {
  if (config.is_gguf()) {
    SLUICE_TRY(const int64_t experts, config.integer_or({"", "expert_count"}, 0, 0, 1 << 14));
    config.forget({"", "expert_count"});
    if (experts > 0) return describe_mixtral(config, source);
  }
  SLUICE_TRY(PlainDecoder d,
             PlainDecoder::read(config, source, {.name = "llama",
                                                 .gguf = {"llama", RopeStyle::interleaved},
                                                 .positions = config.is_gguf() ? 0 : 2048}));  // what the first files leave out
  SLUICE_TRY(d.attention.qkv_bias, read_bias(config, "attention_bias"));
  SLUICE_TRY(d.mlp.bias, read_bias(config, "mlp_bias"));
  d.attention.output_bias = d.attention.qkv_bias;
  if (config.is_gguf() && d.config.info.windowed) d.config.hf_architecture = "MistralForCausalLM";  // a Llama of config.json has no window
  return d.build();
}

}  // namespace

ModelArch llama_arch() { return decoder_arch<describe_llama>("llama", {"LlamaForCausalLM", "LLaMAForCausalLM"}, {"llama"}); }

}  // namespace sluice
