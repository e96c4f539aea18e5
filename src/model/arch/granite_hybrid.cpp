// Granite 4: Mamba 2 layers with attention in some, an MLP or a mixture with an expert for all rows, and Granite's factors. Bamba: the
// same without factors or mixtures, half of each head rotated. A Bamba's GGUF calls itself granitehybrid too.
// IBM 2025, "Granite 4.0"; 2024, "Bamba".

#include "model/arch/granite_factors.h"
#include "model/arch/mixtures.h"
#include "model/arch/state_spaces.h"

namespace sluice {
namespace {

constexpr ConfigKey kGraniteExperts{"num_local_experts", "expert_count"}, kGraniteShared{"shared_intermediate_size", "expert_shared_feed_forward_length"};
constexpr ConfigKey kRotates{"", "rope.scaling.finetuned"}, kRotaryFactor{"partial_rotary_factor", ""}, kAttending{"attn_layer_indices", ""};

DecoderDefaults defaults_of(std::string_view name) {
  return {.name = name,
          .gguf = {"granitehybrid"},
          .own_layer_types = true,
          .computes = {granite::kEmbedding.hf, granite::kScores.hf, granite::kResidual.hf, granite::kLogits.hf, kGraniteExperts.hf,
                       "gguf.expert_count", "partial_rotary_factor"}};
}

/// Puts the mixers into the layers that do not attend.
void place_mixers(PlainDecoder& d, const std::vector<bool>& attends, const Mamba2Config& mamba) {
  // A GGUF has rows i and i + half a head side by side, whatever part of a head is rotated.
  for (const char* key : {"attn_q", "attn_k"})
    d.names.gguf[key] = {.name = key, .rows = {.run = 1, .stride = 2, .wrap = d.config.info.head_dim}};
  d.mixer = [=](int l) { return attends[static_cast<size_t>(l)] ? nullptr : std::make_unique<Mamba2Mixer>(mamba); };
  name_mamba2(d.names, mamba, "model.layers.{}.mamba");
}

/// The MLP is called shared_mlp, whether there are experts beside it or not.
void name_ffn(TensorNames& names, int64_t ffn, int64_t shared, bool mixture) {
  granite::name_shared(names, mixture ? "_shexp" : "", shared);
  if (mixture) granite::name_mixture(names, ffn);
}

Result<Decoder> bamba(const ConfigReader& config, const TensorSource& source) {
  DecoderDefaults defaults = defaults_of("bamba");
  defaults.norm_eps = 1e-5;
  defaults.rotary_factor = 0.5;  // transformers knows no other
  SLUICE_TRY_STATUS(config.only(kRotaryFactor, defaults.rotary_factor));
  SLUICE_TRY_STATUS(expect_kv_heads_by_layer(config, defaults));
  SLUICE_TRY(PlainDecoder d, PlainDecoder::read(config, source, defaults));
  const std::vector<int64_t>* listed = config.metadata().integers(kAttending.hf);
  SLUICE_TRY(const std::vector<bool> attends,
             read_attending(config, d.config, [&](int l) { return listed != nullptr && std::ranges::find(*listed, l) != listed->end(); }));
  if (config.is_gguf()) {
    std::vector<int64_t> indices;
    for (int l = 0; l < d.config.info.layers; ++l)
      if (attends[static_cast<size_t>(l)]) indices.push_back(l);
    config.note(kAttending, indices);
  }
  SLUICE_TRY(d.attention.qkv_bias, read_bias(config, "attention_bias"));
  d.attention.output_bias = d.attention.qkv_bias;
  SLUICE_TRY(d.mlp.bias, read_bias(config, "mlp_bias"));
  SLUICE_TRY(const Mamba2Config mamba, read_mamba2(config, d.config, {}));
  place_mixers(d, attends, mamba);
  config.note(kRotates, true);
  const std::string at = "model.layers.{}.";
  d.names.hf("ffn_norm", {at + "pre_ff_layernorm"}).hf("output_norm", {"model.final_layernorm"});
  for (const char* part : {"gate", "up", "down"}) d.names.hf(fmt::format("ffn_{}", part), {fmt::format("{}feed_forward.{}_proj", at, part)});
  return d.build();
}

/// Whether what a GGUF calls granitehybrid is a Bamba: half of each head is rotated, and nothing of Granite's is said.
bool is_bamba(const ConfigReader& config) {
  for (const ConfigKey granites : {granite::kEmbedding, granite::kScores, granite::kResidual, granite::kLogits, kGraniteExperts, kGraniteShared})
    if (config.has(granites)) return false;
  if (!config.is_gguf() || !config.metadata().boolean_or(config.name(kRotates), true)) return false;
  const auto value = [&](std::string_view gguf) { return config.metadata().integer_or(config.name({"", gguf}), 0); };
  const int64_t heads = value("attention.head_count");
  return heads > 0 && value("rope.dimension_count") == value("embedding_length") / heads / 2;
}

Result<Decoder> granite4(const ConfigReader& config, const TensorSource& source) {
  if (is_bamba(config)) return bamba(config, source);
  DecoderDefaults defaults = defaults_of("granitehybrid");
  SLUICE_TRY_STATUS(expect_kv_heads_by_layer(config, defaults));
  const bool rotates = config.is_gguf() || config.metadata().string_or("position_embedding_type", "nope") == "rope";
  SLUICE_TRY(defaults.rope, config.boolean_or(kRotates, rotates));
  SLUICE_TRY(PlainDecoder d, PlainDecoder::read(config, source, defaults));
  const std::vector<std::string>* types = config.metadata().strings("layer_types");
  if (!config.is_gguf() && (types == nullptr || types->size() != static_cast<size_t>(d.config.info.layers)))
    return config.invalid({"layer_types", ""}, fmt::format("must be an array of {} names, one per layer", d.config.info.layers));
  SLUICE_TRY(const std::vector<bool> attends, read_attending(config, d.config, [&](int l) {
               const std::string& type = (*types)[static_cast<size_t>(l)];
               return type == "attention" || type == "full_attention";
             }));
  SLUICE_TRY_STATUS(granite::read_layers(config, d, false));
  SLUICE_TRY(const Mamba2Config mamba, read_mamba2(config, d.config, {}));
  place_mixers(d, attends, mamba);
  SLUICE_TRY(const int64_t experts, config.integer_or(kGraniteExperts, 0, 0, 1 << 14));
  SLUICE_TRY(int64_t shared, config.integer_or(kGraniteShared, config.is_gguf() ? 0 : 1024, 0, kMaxWidth));
  if (experts > 0) {
    SLUICE_TRY(MoeConfig moe, read_mixture(config, d.config, {}));
    moe.routing.score = Routing::Score::topk_softmax;
    moe.shared_ffn = shared;
    d.ffn = [moe](int) { return std::make_unique<MoeLayer>(moe); };
  } else if (!config.is_gguf()) {
    d.mlp.ffn = d.config.info.ffn = shared;
    config.note({"intermediate_size", "feed_forward_length"}, shared);
    for (const ConfigKey unused : {kGraniteShared, kGraniteExperts}) config.forget(unused);
  } else {
    shared = d.config.info.ffn;
    config.forget(kGraniteShared);
    config.note({kGraniteShared.hf, ""}, shared);
  }
  if (config.is_gguf()) {
    const RopeConfig* rope = d.config.rope.get();
    config.cannot_be_said(rope != nullptr && rope->rotary_dims() != d.config.info.head_dim, "a part of each head is rotated");
    std::vector<std::string> names;
    for (const bool attention : attends) names.push_back(attention ? "attention" : "mamba");
    config.note({"layer_types", ""}, names);
    config.note({"position_embedding_type", ""}, std::string(defaults.rope ? "rope" : "nope"));
  }
  name_ffn(d.names, d.config.info.ffn, shared, experts > 0);
  return granite::finish(config, d);
}

}  // namespace

ModelArch granitehybrid_arch() { return decoder_arch<granite4>("granitehybrid", {"GraniteMoeHybridForCausalLM"}, {"granitehybrid"}); }
ModelArch bamba_arch() { return decoder_arch<bamba>("bamba", {"BambaForCausalLM"}, {}); }

}  // namespace sluice
