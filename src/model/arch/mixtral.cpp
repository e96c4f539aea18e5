// Mixtral: Mistral's layers with a mixture of experts, weighed by the softmax of the chosen logits. Its GGUF is a "llama".
// Jiang et al. 2024, "Mixtral of experts".

#include "model/arch/mixtures.h"
#include "model/layers/plain_decoder.h"

namespace sluice {

Result<Decoder> describe_mixtral(const ConfigReader& config, const TensorSource& source) {
  SLUICE_TRY(PlainDecoder d, PlainDecoder::read(config, source,
                                                {.name = "mixtral",
                                                 .gguf = {"llama", RopeStyle::interleaved},
                                                 .norm_eps = 1e-5,
                                                 .rope_theta = 1e6,
                                                 .kv_heads = 8,
                                                 .window = WindowRule::all_layers,
                                                 .computes = {"num_local_experts", "gguf.expert_count"}}));
  SLUICE_TRY(MoeConfig moe, read_mixture(config, d.config, {}));
  moe.routing.score = Routing::Score::topk_softmax;
  d.ffn = [moe](int) { return std::make_unique<MoeLayer>(moe); };
  const std::string at = "model.layers.{}.block_sparse_moe.";
  d.names.hf("ffn_gate_inp", {at + "gate"})
      .hf("ffn_gate_exps", {at + "experts.{e}.w1"})
      .hf("ffn_up_exps", {at + "experts.{e}.w3"})
      .hf("ffn_down_exps", {at + "experts.{e}.w2"});
  return d.build();
}

ModelArch mixtral_arch() { return decoder_arch<describe_mixtral>("mixtral", {"MixtralForCausalLM"}, {}); }

}  // namespace sluice
