// MiniCPM: Llama's shape with factors of the embedding, of what layers add, and under the logits. MiniCPM3: the same over latent
// attention, rotated by halves.
// Hu et al. 2024, "MiniCPM: unveiling the potential of small language models".

#include <algorithm>
#include <cmath>

#include "model/layers/latent_config.h"
#include "model/layers/plain_decoder.h"

namespace sluice {
namespace {

constexpr ConfigKey kEmbedding{"scale_emb", "embedding_scale"};
constexpr ConfigKey kDepth{"scale_depth", ""}, kBase{"dim_model_base", ""};
constexpr ConfigKey kResidual{"", "residual_scale"}, kLogits{"", "logit_scale"};

/// What a config.json means that leaves them out.
struct Factors {
  double depth = 1, base = 1, embedding = 1;
};

/// A GGUF has what comes of the depth and the base.
Result<Decoder> with_factors(const ConfigReader& config, PlainDecoder d, const Factors& unsaid) {
  const ModelInfo& info = d.config.info;
  double residual = 1, logits = 1;
  if (config.is_gguf()) {
    // The first files lack them: they are of the first models.
    SLUICE_TRY(residual, config.number_or(kResidual, 1.4 / std::sqrt(static_cast<double>(info.layers)), 1e-9, 1e9));
    SLUICE_TRY(logits, config.number_or(kLogits, static_cast<double>(info.hidden) / 256, 1e-9, 1e9));
    const double root = std::sqrt(static_cast<double>(info.layers)), hidden = static_cast<double>(info.hidden);
    const auto equal = [](double a, double b) { return static_cast<float>(a) == static_cast<float>(b); };
    config.note(kDepth, simplest_number(residual * root, [&](double depth) { return equal(depth / root, residual); }));
    config.note(kBase, simplest_number(hidden / logits, [&](double base) { return equal(hidden / base, logits); }));
  } else {
    SLUICE_TRY(const double depth, config.number_or(kDepth, unsaid.depth, 1e-9, 1e9));
    SLUICE_TRY(const double base, config.number_or(kBase, unsaid.base, 1e-9, 1e9));
    residual = depth / std::sqrt(static_cast<double>(info.layers));
    logits = static_cast<double>(info.hidden) / base;
    config.note(kResidual, residual);
    config.note(kLogits, logits);
  }
  SLUICE_TRY(const double embedding, config.number_or(kEmbedding, config.is_gguf() ? 12.0 : unsaid.embedding, 1e-9, 1e9));
  d.residual_scale = static_cast<float>(residual);
  Decoder out = d.build();
  out.embedding_scale = static_cast<float>(embedding);
  out.logit_scale = static_cast<float>(1 / logits);
  return out;
}

Result<Decoder> minicpm(const ConfigReader& config, const TensorSource& source) {
  SLUICE_TRY(PlainDecoder d, PlainDecoder::read(config, source,
                                                {.name = "minicpm",
                                                 .gguf = {"minicpm", RopeStyle::interleaved},
                                                 .longrope_in_gguf = true,
                                                 .tied = true,
                                                 .computes = {"embedding_multiplier", "residual_multiplier", "logits_scaling"}}));
  // Beyond so many tokens MiniCPM 4.1 attends to chosen blocks only, which is not computed.
  if (const ConfigKey dense{"sparse_config.dense_len", ""}; config.has(dense)) {
    SLUICE_TRY(const int64_t most, config.integer(dense, 1, kMaxPositions));
    d.config.info.max_positions = std::min(d.config.info.max_positions, most);
  }
  return with_factors(config, std::move(d), {});
}

Result<Decoder> minicpm3(const ConfigReader& config, const TensorSource& source) {
  SLUICE_TRY(PlainDecoder d, PlainDecoder::read(config, source, {.name = "minicpm3", .norm_eps = 1e-5, .own_attention = true, .tied = true}));
  SLUICE_TRY(const LatentAttentionConfig attention,
             read_latent_attention(config, {.bias = "attention_bias", .style = RopeStyle::half}, d.config));
  name_latent_attention(d.names, attention);
  d.mixer = [attention](int) { return std::make_unique<LatentAttention>(attention); };
  return with_factors(config, std::move(d), {.depth = 1.4, .base = 256, .embedding = 12});
}

}  // namespace

ModelArch minicpm_arch() { return decoder_arch<minicpm>("minicpm", {"MiniCPMForCausalLM"}, {"minicpm"}); }
ModelArch minicpm3_arch() { return decoder_arch<minicpm3>("minicpm3", {"MiniCPM3ForCausalLM"}, {}); }

}  // namespace sluice
