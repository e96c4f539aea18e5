#pragma once
// Granite's four factors: of the embedding, of scores, of what layers add, and under the logits; and the names of its mixtures.
// Granite Team 2024, "Granite 3.0 language models".

#include "model/layers/plain_decoder.h"

namespace sluice::granite {

inline constexpr ConfigKey kEmbedding{"embedding_multiplier", "embedding_scale"}, kScores{"attention_multiplier", "attention.scale"};
inline constexpr ConfigKey kResidual{"residual_multiplier", "residual_scale"}, kLogits{"logits_scaling", "logit_scale"};

/// The factors within layers, and the biases of attention. Without `always`, a GGUF that says no scale of scores has the usual one.
inline Status read_layers(const ConfigReader& config, PlainDecoder& d, bool always = true) {
  SLUICE_TRY(d.attention.qkv_bias, read_bias(config, "attention_bias"));
  d.attention.output_bias = d.attention.qkv_bias;
  if (always || config.has(kScores) || !config.is_gguf()) {
    SLUICE_TRY(const double scores, config.number_or(kScores, 1.0, 1e-9, 1e9));
    d.attention.scale = static_cast<float>(scores);
  }
  SLUICE_TRY(const double residual, config.number_or(kResidual, 1.0, 1e-9, 1e9));
  d.residual_scale = static_cast<float>(residual);
  return {};
}

/// The decoder with the factors outside its layers.
inline Result<Decoder> finish(const ConfigReader& config, const PlainDecoder& d) {
  Decoder out = d.build();
  SLUICE_TRY(const double embedding, config.number_or(kEmbedding, 1.0, 1e-9, 1e9));
  out.embedding_scale = static_cast<float>(embedding);
  SLUICE_TRY(const double logits, config.number_or(kLogits, 1.0, 1e-9, 1e9));
  out.logit_scale = static_cast<float>(1 / logits);
  return out;
}

/// Gate and up, which are one tensor of `of` in config.json's layout.
inline void name_gate_and_up(TensorNames& names, const std::string& suffix, const std::string& of, int64_t ffn) {
  const std::string name = "model.layers.{}." + of;
  names.hf("ffn_gate" + suffix, Place{.name = name, .rows = {0}, .of_rows = 2 * ffn});
  names.hf("ffn_up" + suffix, Place{.name = name, .rows = {ffn}, .of_rows = 2 * ffn});
}

/// What is computed for all rows, alone or beside a mixture (`suffix`).
inline void name_shared(TensorNames& names, const std::string& suffix, int64_t ffn) {
  name_gate_and_up(names, suffix, "shared_mlp.input_linear", ffn);
  names.hf("ffn_down" + suffix, {"model.layers.{}.shared_mlp.output_linear"});
}

inline void name_mixture(TensorNames& names, int64_t ffn) {
  names.hf("ffn_gate_inp", {"model.layers.{}.block_sparse_moe.router.layer"});
  name_gate_and_up(names, "_exps", "block_sparse_moe.input_linear", ffn);
  names.hf("ffn_down_exps", {"model.layers.{}.block_sparse_moe.output_linear"});
}

}  // namespace sluice::granite
