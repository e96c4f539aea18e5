#include "model/layers/plain_decoder.h"

namespace sluice {

Result<PlainDecoder> PlainDecoder::read(const ConfigReader& config, const TensorSource& source, const DecoderDefaults& defaults) {
  PlainDecoder out;
  SLUICE_TRY(out.config, read_decoder_config(config, source, defaults));
  out.attention = out.config.attention(0);
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
    if (each) each(l, a, m);
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
    layer.mixer = std::make_unique<Attention>(std::move(a));
    layer.ffn = ffn ? ffn(l) : nullptr;
    if (layer.ffn == nullptr) layer.ffn = std::make_unique<MlpLayer>(std::move(m));
    out.layers.push_back(std::move(layer));
  }
  return out;
}

}  // namespace sluice
