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
constexpr ConfigKey kResidual{"", "residual_scale"}, kMiniCpmLogits{"", "logit_scale"};

struct MiniCpmFactors {
  double depth = 1, base = 1, embedding = 1;
  bool operator==(const MiniCpmFactors&) const = default;
};

/// As a config.json has them.
Result<MiniCpmFactors> read_factors(const ConfigReader& config, ConfigKey embedding, const MiniCpmFactors& unsaid) {
  MiniCpmFactors out;
  SLUICE_TRY(out.depth, config.number_or(kDepth, unsaid.depth, 1e-9, 1e9));
  SLUICE_TRY(out.base, config.number_or(kBase, unsaid.base, 1e-9, 1e9));
  SLUICE_TRY(out.embedding, config.number_or(embedding, unsaid.embedding, 1e-9, 1e9));
  return out;
}

struct Scales {
  double embedding = 1, residual = 1, logits = 1;
};

Scales scales_of(const MiniCpmFactors& factors, const ModelInfo& info) {
  return {.embedding = factors.embedding,
          .residual = factors.depth / std::sqrt(static_cast<double>(info.layers)),
          .logits = static_cast<double>(info.hidden) / factors.base};
}

Decoder scaled(PlainDecoder d, const Scales& scales) {
  d.residual_scale = static_cast<float>(scales.residual);
  Decoder out = d.build();
  out.embedding_scale = static_cast<float>(scales.embedding);
  out.logit_scale = static_cast<float>(1 / scales.logits);
  return out;
}

/// A GGUF of MiniCPM has what comes of the depth and the base.
Result<Scales> read_scales(const ConfigReader& config, const ModelInfo& info) {
  if (!config.is_gguf()) {
    SLUICE_TRY(const MiniCpmFactors factors, read_factors(config, kEmbedding, {}));
    const Scales out = scales_of(factors, info);
    config.note(kResidual, out.residual);
    config.note(kMiniCpmLogits, out.logits);
    return out;
  }
  const double root = std::sqrt(static_cast<double>(info.layers)), hidden = static_cast<double>(info.hidden);
  Scales out;
  // The first files lack them: they are of the first models.
  SLUICE_TRY(out.residual, config.number_or(kResidual, 1.4 / root, 1e-9, 1e9));
  SLUICE_TRY(out.logits, config.number_or(kMiniCpmLogits, hidden / 256, 1e-9, 1e9));
  SLUICE_TRY(out.embedding, config.number_or(kEmbedding, 12.0, 1e-9, 1e9));
  const auto equal = [](double a, double b) { return static_cast<float>(a) == static_cast<float>(b); };
  config.note(kDepth, simplest_number(out.residual * root, [&](double depth) { return equal(depth / root, out.residual); }));
  config.note(kBase, simplest_number(hidden / out.logits, [&](double base) { return equal(hidden / base, out.logits); }));
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
  SLUICE_TRY(const Scales scales, read_scales(config, d.config.info));
  return scaled(std::move(d), scales);
}

// A GGUF names no factors and is computed with the 4B model's, which a config.json that leaves them out means too.
Result<Decoder> minicpm3(const ConfigReader& config, const TensorSource& source) {
  constexpr MiniCpmFactors k4B{.depth = 1.4, .base = 256, .embedding = 12};
  SLUICE_TRY(PlainDecoder d,
             PlainDecoder::read(config, source, {.name = "minicpm3", .gguf = {"minicpm3"}, .norm_eps = 1e-5, .own_attention = true, .tied = true}));
  SLUICE_TRY(const LatentAttentionConfig attention,
             read_latent_attention(config, {.bias = "attention_bias", .style = RopeStyle::half, .heads_in_gguf = true, .longrope_in_gguf = true}, d.config));
  name_latent_attention(d.names, attention, true);
  d.mixer = [attention](int) { return std::make_unique<LatentAttention>(attention); };
  SLUICE_TRY(const MiniCpmFactors factors, read_factors(config, {kEmbedding.hf, ""}, k4B));
  config.cannot_be_said(factors != k4B, fmt::format("scale_emb is {}, scale_depth {} and dim_model_base {} (other than 12, 1.4 and 256)",
                                                    factors.embedding, factors.depth, factors.base));
  const Scales scales = scales_of(factors, d.config.info);
  return scaled(std::move(d), scales);
}

}  // namespace

ModelArch minicpm_arch() { return decoder_arch<minicpm>("minicpm", {"MiniCPMForCausalLM"}, {"minicpm"}); }
ModelArch minicpm3_arch() { return decoder_arch<minicpm3>("minicpm3", {"MiniCPM3ForCausalLM"}, {"minicpm3"}); }

}  // namespace sluice
