#include "model/layers/plain_decoder.h"

namespace sluice {

Result<PlainDecoder> PlainDecoder::read(const ConfigReader& config, const TensorSource& source, const DecoderDefaults& defaults) {
  PlainDecoder out;
  SLUICE_TRY(out.config, read_decoder_config(config, source, defaults));
  if (!defaults.own_attention && !defaults.no_heads) out.attention = out.config.attention(0);
  out.mlp.hidden = out.config.info.hidden;
  out.mlp.ffn = out.config.info.ffn;
  return out;
}

Decoder PlainDecoder::build() const {
  const int64_t hidden = config.info.hidden;
  const auto norm = [&](std::string_view key) { return NormLayer(key, config.norm, hidden); };
  Decoder out;
  out.config = config;
  out.names = names;
  out.final_norm = norm("output_norm");
  for (int l = 0; l < config.info.layers; ++l) {
    AttentionConfig a = attention;
    MlpConfig m = mlp;
    a.window = config.windows[static_cast<size_t>(l)];
    if (a.window > 0 && config.local_rope != nullptr) a.rope = config.local_rope;
    if (each) each(l, a, m);
    if (a.chunk > 0) out.config.info.windowed = true;
    DecoderLayer layer;
    if (norms != NormPlace::after) {
      layer.mixer_norm = norm("attn_norm");
      if (!one_norm) layer.ffn_norm = norm("ffn_norm");
    }
    if (norms != NormPlace::before) {
      layer.mixer_post_norm = norm("post_attention_norm");
      layer.ffn_post_norm = norm("post_ffw_norm");
    }
    layer.parallel = parallel;
    layer.residual_scale = residual_scale;
    layer.mixer = mixer ? mixer(l) : nullptr;
    if (layer.mixer == nullptr) layer.mixer = std::make_unique<Attention>(std::move(a));
    layer.ffn = ffn ? ffn(l) : nullptr;
    if (layer.ffn == nullptr) layer.ffn = std::make_unique<MlpLayer>(std::move(m));
    out.layers.push_back(std::move(layer));
  }
  return out;
}

void fuse_qkv(std::map<std::string, Place, std::less<>>& places, const std::string& name, const AttentionConfig& attention) {
  const int64_t q = int64_t{attention.heads} * attention.head_dim, kv = int64_t{attention.kv_heads} * attention.head_dim;
  int64_t first = 0;
  for (const auto& [key, rows] : {std::pair{"attn_q", q}, {"attn_k", kv}, {"attn_v", kv}}) {
    places[key] = {.name = name, .rows = {first}, .of_rows = q + 2 * kv};
    first += rows;
  }
}

void fuse_gate_up(std::map<std::string, Place, std::less<>>& places, const std::string& name, int64_t ffn) {
  places["ffn_gate"] = {.name = name, .of_rows = 2 * ffn};
  places["ffn_up"] = {.name = name, .rows = {ffn}, .of_rows = 2 * ffn};
}

}  // namespace sluice
