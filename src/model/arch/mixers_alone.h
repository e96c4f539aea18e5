#pragma once
// Models whose layers are one norm and one mixer, nothing else, as Mamba's are.

#include "model/layers/decoder_model.h"

namespace sluice {

/// Everything but the mixer's names; `mixer` makes one for each layer.
template <class Mixer>
Decoder of_mixers_alone(DecoderConfig config, const Mixer& mixer) {
  Decoder out;
  out.config = std::move(config);
  const DecoderConfig& d = out.config;
  out.names = TensorNames();
  out.names.hf("token_embd", {"backbone.embeddings"}).hf("attn_norm", {"backbone.layers.{}.norm"}).hf("output_norm", {"backbone.norm_f"});
  out.names.hf("output", {"lm_head"});
  for (int l = 0; l < d.info.layers; ++l) {
    DecoderLayer& layer = out.layers.emplace_back();
    layer.mixer_norm = NormLayer("attn_norm", d.norm, d.info.hidden);
    layer.mixer = mixer();
  }
  out.final_norm = NormLayer("output_norm", d.norm, d.info.hidden);
  return out;
}

}  // namespace sluice
