// Llama with shifted ReLUs: attention and MLP take relu(norm(x) + b), and the MLP's gate is relu(gate(x) + b), so that most of what a
// matrix is multiplied by is zero. The shifts are tensors: the norms' biases and the gate's.
// Mirzadeh et al. 2023, "ReLU strikes back: exploiting activation sparsity in large language models". Trained models come from
// llama2.c (`sluice convert --variant shifted-relu`).

#include "model/layers/plain_decoder.h"

namespace sluice {
namespace {

Result<Decoder> relullama(const ConfigReader& config, const TensorSource& source) {
  SLUICE_TRY(PlainDecoder d, PlainDecoder::read(config, source, {.name = "relullama", .gguf = {"relullama", RopeStyle::interleaved}}));
  d.mlp.act = Activation::relu;
  d.mlp.bias = Presence::if_present;
  NormStyle shifted = d.config.norm;
  shifted.bias = Presence::required;
  shifted.relu = true;
  Decoder out = d.build();
  for (DecoderLayer& layer : out.layers) {
    layer.mixer_norm = NormLayer("attn_norm", shifted, out.config.info.hidden);
    layer.ffn_norm = NormLayer("ffn_norm", shifted, out.config.info.hidden);
  }
  return out;
}

}  // namespace

ModelArch relullama_arch() { return decoder_arch<relullama>("relullama", {}, {"relullama"}); }

}  // namespace sluice
