#include "model/layers/latent_config.h"

#include <cmath>

namespace sluice {
namespace {

constexpr ConfigKey kQRank{"q_lora_rank", "attention.q_lora_rank"};
constexpr ConfigKey kKvRank{"kv_lora_rank", "attention.kv_lora_rank"};
constexpr ConfigKey kNopeDim{"qk_nope_head_dim", ""};
constexpr ConfigKey kLatentRopeDim{"qk_rope_head_dim", "rope.dimension_count"};
constexpr ConfigKey kLatentValueDim{"v_head_dim", "attention.value_length_mla"};
constexpr ConfigKey kKeyDim{"", "attention.key_length_mla"};
constexpr ConfigKey kRowDim{"", "attention.key_length"}, kLatentDim{"", "attention.value_length"};

}  // namespace

Result<LatentAttentionConfig> read_latent_attention(const ConfigReader& config, const LatentReading& reading, DecoderConfig& d) {
  LatentAttentionConfig a;
  a.hidden = d.info.hidden;
  a.heads = d.info.heads;
  a.norm = d.norm;
  if (!config.is_null(kQRank)) {
    SLUICE_TRY(a.q_rank, config.integer_or(kQRank, 0, 0, kMaxWidth));
  }
  if (a.q_rank == 0) {
    config.forget(kQRank);
    if (config.is_gguf()) config.note_null(kQRank.hf);
  }
  SLUICE_TRY(a.kv_rank, config.integer(kKvRank, 1, kMaxHeadDim));
  SLUICE_TRY(a.rope_dim, config.integer(kLatentRopeDim, 2, kMaxHeadDim));
  const bool of_heads = reading.heads_in_gguf || (config.is_gguf() && !config.has(kKeyDim));  // DeepSeek's first files
  const ConfigKey value{kLatentValueDim.hf, of_heads ? kLatentDim.gguf : kLatentValueDim.gguf};
  SLUICE_TRY(a.v_dim, config.is_gguf() && reading.heads_in_gguf ? config.integer_or(value, a.hidden / a.heads, 1, kMaxHeadDim)
                                                                : config.integer(value, 1, kMaxHeadDim));
  if (a.rope_dim % 2 != 0) return config.invalid(kLatentRopeDim, fmt::format("is {}; it must be even", a.rope_dim));
  if (config.is_gguf()) {
    SLUICE_TRY(const int64_t key, config.integer(of_heads ? kRowDim : kKeyDim, a.rope_dim + 1, kMaxHeadDim));
    a.nope_dim = key - a.rope_dim;
    config.note(kNopeDim, a.nope_dim);
    const ConfigKey kv_heads = DecoderKeys{}.kv_heads;  // of the latent there is one; config.json has as many as are made of it
    config.forget(kv_heads);
    config.note({"", kv_heads.gguf}, int64_t{1});
    config.note({kv_heads.hf, ""}, int64_t{a.heads});
  } else {
    SLUICE_TRY(a.nope_dim, config.integer(kNopeDim, 1, kMaxHeadDim));
    config.note(of_heads ? kRowDim : kKeyDim, a.nope_dim + a.rope_dim);
    if (!of_heads) config.note(kRowDim, a.kv_rank + a.rope_dim);
    if (!of_heads) config.note(kLatentDim, a.kv_rank);
    config.note(DecoderKeys{}.kv_heads, int64_t{of_heads ? a.heads : 1});
  }
  SLUICE_TRY(RopeConfig rope, read_rope(config, {.rotary_dims = static_cast<int>(a.rope_dim),
                                                 .positions = d.info.max_positions,
                                                 .style = reading.style,
                                                 .longrope_in_gguf = reading.longrope_in_gguf,
                                                 .scores_scaled = true}));
  double scale = 1 / std::sqrt(static_cast<double>(a.nope_dim + a.rope_dim));
  if (rope.settings.type == "yarn" && rope.settings.factor > 1 && rope.settings.mscale_all_dim != 0) {
    const double mscale = 0.1 * rope.settings.mscale_all_dim * std::log(rope.settings.factor) + 1;
    scale *= mscale * mscale;
  }
  a.scale = static_cast<float>(scale);
  SLUICE_TRY(a.bias, read_bias(config, reading.bias));
  d.hf_rope = reading.style;
  d.info.kv_heads = 1;
  d.info.head_dim = a.row_dim();
  d.info.max_positions = std::min(rope.max_positions, kMaxPositions);
  d.rope = std::make_shared<RopeConfig>(std::move(rope));
  a.rope = d.rope;
  return a;
}

void name_latent_attention(TensorNames& names, const LatentAttentionConfig& a, bool joined) {
  const auto attention = [](std::string_view name) { return Place{"model.layers.{}.self_attn." + std::string(name)}; };
  const auto rows = [](Place place, int64_t first, int64_t of_rows) {
    place.rows.first = first, place.of_rows = of_rows;
    return place;
  };
  names.hf("attn_q_a", attention("q_a_proj")).hf("attn_q_a_norm", attention("q_a_layernorm")).hf("attn_q_b", attention("q_b_proj"));
  names.hf("attn_kv_a_norm", attention("kv_a_layernorm"));
  for (auto* places : {&names.huggingface, &names.gguf}) {
    const Place both = places == &names.gguf ? Place{"attn_kv_a_mqa"} : attention("kv_a_proj_with_mqa");
    (*places)["attn_kv_a_latent"] = rows(both, 0, a.row_dim());
    (*places)["attn_kv_a_rope"] = rows(both, a.kv_rank, a.row_dim());
  }
  const int64_t per_head = a.nope_dim + a.v_dim, all = a.heads * per_head;
  names.hf("attn_k_b", {.name = "model.layers.{}.self_attn.kv_b_proj", .transposed = true, .of_columns = all, .per_expert = per_head});
  names.hf("attn_v_b",
           {.name = "model.layers.{}.self_attn.kv_b_proj", .rows = {a.nope_dim}, .of_rows = all, .per_expert = per_head});
  if (!joined) return;
  for (const char* key : {"attn_k_b", "attn_v_b"}) {
    Place place = names.huggingface[key];
    place.name = "attn_kv_b";
    names.gguf[key] = place;
  }
}

}  // namespace sluice
