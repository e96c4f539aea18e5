// Granite 3: Llama's shape with four factors, of the embedding, of scores, of what layers add, and under the logits; and its
// mixtures, with and without an expert for all rows.
// Granite Team 2024, "Granite 3.0 language models".

#include "model/arch/mixtures.h"
#include "model/layers/plain_decoder.h"

namespace sluice {
namespace {

constexpr ConfigKey kEmbedding{"embedding_multiplier", "embedding_scale"};
constexpr ConfigKey kScores{"attention_multiplier", "attention.scale"};
constexpr ConfigKey kResidual{"residual_multiplier", "residual_scale"};
constexpr ConfigKey kLogits{"logits_scaling", "logit_scale"};

Result<PlainDecoder> read(const ConfigReader& config, const TensorSource& source, std::string_view name) {
  SLUICE_TRY(PlainDecoder d, PlainDecoder::read(config, source,
                                                {.name = name,
                                                 .gguf = {name, RopeStyle::interleaved},
                                                 .computes = {kEmbedding.hf, kScores.hf, kResidual.hf, kLogits.hf, "num_local_experts",
                                                              "gguf.expert_count"}}));
  SLUICE_TRY(d.attention.qkv_bias, read_bias(config, "attention_bias"));
  d.attention.output_bias = d.attention.qkv_bias;
  SLUICE_TRY(d.mlp.bias, read_bias(config, "mlp_bias"));
  SLUICE_TRY(const double scores, config.number_or(kScores, 1.0, 1e-9, 1e9));
  d.attention.scale = static_cast<float>(scores);
  SLUICE_TRY(const double residual, config.number_or(kResidual, 1.0, 1e-9, 1e9));
  d.residual_scale = static_cast<float>(residual);
  return d;
}

Result<Decoder> finish(const ConfigReader& config, const PlainDecoder& d) {
  Decoder out = d.build();
  SLUICE_TRY(const double embedding, config.number_or(kEmbedding, 1.0, 1e-9, 1e9));
  out.embedding_scale = static_cast<float>(embedding);
  SLUICE_TRY(const double logits, config.number_or(kLogits, 1.0, 1e-9, 1e9));
  out.logit_scale = static_cast<float>(1 / logits);
  return out;
}

Result<Decoder> granite(const ConfigReader& config, const TensorSource& source) {
  SLUICE_TRY(const PlainDecoder d, read(config, source, "granite"));
  return finish(config, d);
}

// Gate and up are one tensor of all experts; so are those of the expert for all rows.
Result<Decoder> granitemoe(const ConfigReader& config, const TensorSource& source) {
  SLUICE_TRY(PlainDecoder d, read(config, source, "granitemoe"));
  SLUICE_TRY(MoeConfig moe, read_mixture(config, d.config, {}));
  moe.routing.score = Routing::Score::topk_softmax;
  SLUICE_TRY(moe.shared_ffn, config.integer_or({"shared_intermediate_size", "expert_shared_feed_forward_length"}, 0, 0, kMaxWidth));
  if (moe.shared_ffn > 0) d.config.hf_architecture = "GraniteMoeSharedForCausalLM";
  const std::string at = "model.layers.{}.";
  const auto part = [&](std::string_view name, int64_t first, int64_t ffn) {
    return Place{.name = at + std::string(name), .rows = {first}, .of_rows = 2 * ffn};
  };
  d.names.hf("ffn_gate_inp", {at + "block_sparse_moe.router.layer"})
      .hf("ffn_gate_exps", part("block_sparse_moe.input_linear", 0, moe.ffn))
      .hf("ffn_up_exps", part("block_sparse_moe.input_linear", moe.ffn, moe.ffn))
      .hf("ffn_down_exps", {at + "block_sparse_moe.output_linear"})
      .hf("ffn_gate_shexp", part("shared_mlp.input_linear", 0, moe.shared_ffn))
      .hf("ffn_up_shexp", part("shared_mlp.input_linear", moe.shared_ffn, moe.shared_ffn))
      .hf("ffn_down_shexp", {at + "shared_mlp.output_linear"});
  d.ffn = [moe](int) { return std::make_unique<MoeLayer>(moe); };
  return finish(config, d);
}

}  // namespace

ModelArch granite_arch() { return decoder_arch<granite>("granite", {"GraniteForCausalLM"}, {"granite"}); }
ModelArch granitemoe_arch() {
  return decoder_arch<granitemoe>("granitemoe", {"GraniteMoeForCausalLM", "GraniteMoeSharedForCausalLM"}, {"granitemoe"});
}

}  // namespace sluice
