// Granite 3: Llama's shape with four factors, of the embedding, of scores, of what layers add, and under the logits; and its
// mixtures, with and without an expert for all rows.
// Granite Team 2024, "Granite 3.0 language models".

#include "model/arch/granite_factors.h"
#include "model/arch/mixtures.h"

namespace sluice {
namespace {

Result<PlainDecoder> read_granite(const ConfigReader& config, const TensorSource& source, std::string_view name) {
  DecoderDefaults defaults{.name = name,
                           .gguf = {name, RopeStyle::interleaved},
                           .computes = {granite::kEmbedding.hf, granite::kScores.hf, granite::kResidual.hf, granite::kLogits.hf,
                                        "num_local_experts", "gguf.expert_count"}};
  if (config.is_gguf()) {  // where it is a switch
    SLUICE_TRY(defaults.rope, config.boolean_or({"", "rope.scaling.finetuned"}, true));
  }
  SLUICE_TRY(PlainDecoder d, PlainDecoder::read(config, source, defaults));
  SLUICE_TRY_STATUS(granite::read_layers(config, d));
  SLUICE_TRY(d.mlp.bias, read_bias(config, "mlp_bias"));
  return d;
}

Result<Decoder> granite3(const ConfigReader& config, const TensorSource& source) {
  SLUICE_TRY(const PlainDecoder d, read_granite(config, source, "granite"));
  return granite::finish(config, d);
}

// Gate and up are one tensor of all experts; so are those of the expert for all rows.
Result<Decoder> granitemoe(const ConfigReader& config, const TensorSource& source) {
  SLUICE_TRY(PlainDecoder d, read_granite(config, source, "granitemoe"));
  SLUICE_TRY(MoeConfig moe, read_mixture(config, d.config, {}));
  moe.routing.score = Routing::Score::topk_softmax;
  SLUICE_TRY(moe.shared_ffn, config.integer_or({"shared_intermediate_size", "expert_shared_feed_forward_length"}, 0, 0, kMaxWidth));
  if (moe.shared_ffn > 0) d.config.hf_architecture = "GraniteMoeSharedForCausalLM";
  granite::name_mixture(d.names, moe.ffn);
  granite::name_shared(d.names, "_shexp", moe.shared_ffn);
  d.ffn = [moe](int) { return std::make_unique<MoeLayer>(moe); };
  return granite::finish(config, d);
}

}  // namespace

ModelArch granite_arch() { return decoder_arch<granite3>("granite", {"GraniteForCausalLM"}, {"granite"}); }
ModelArch granitemoe_arch() {
  return decoder_arch<granitemoe>("granitemoe", {"GraniteMoeForCausalLM", "GraniteMoeSharedForCausalLM"}, {"granitemoe"});
}

}  // namespace sluice
